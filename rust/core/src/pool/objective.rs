//! What a decision is to achieve, and the one order of models that follows from it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{rank::Reason, spec::is_amount};

/// What a decision is to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ObjectiveFields", into = "ObjectiveFields")]
pub enum Objective {
    /// The cheapest model whose chance of success reaches `target`; the most likely one where none does. With a radius, the chance
    /// counts that remains in the worst case of a shift by that Kullback-Leibler divergence.
    Target {
        /// In `0..=1`.
        target: f64,
        /// In nats; 0 or more.
        kl_radius: f64,
    },
    /// The most likely model whose expected cost does not exceed it.
    MaxCost(f64),
    /// The least expected cost plus this times the chance of failure.
    ErrorCost(f64),
    /// The cheapest model whose chance is at most this much below the best one's.
    Tolerance(f64),
}

/// Names of objectives, for messages.
const NAMES: &str = "target, max_cost, error_cost and tolerance";

/// As files and calls write it: at most one of the first four.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveFields {
    #[serde(deserialize_with = "super::spec::any_number", skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    #[serde(deserialize_with = "super::spec::any_number", skip_serializing_if = "Option::is_none")]
    max_cost: Option<f64>,
    #[serde(deserialize_with = "super::spec::any_number", skip_serializing_if = "Option::is_none")]
    error_cost: Option<f64>,
    #[serde(deserialize_with = "super::spec::any_number", skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
    #[serde(deserialize_with = "super::spec::any_number", skip_serializing_if = "Option::is_none")]
    kl_radius: Option<f64>,
}

impl ObjectiveFields {
    /// The number of that name; nothing for names of other things.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Option<f64>> {
        match name {
            "target" => Some(&mut self.target),
            "max_cost" => Some(&mut self.max_cost),
            "error_cost" => Some(&mut self.error_cost),
            "tolerance" => Some(&mut self.tolerance),
            "kl_radius" => Some(&mut self.kl_radius),
            _ => None,
        }
    }

    /// The objective that they stand for; none if none is given.
    ///
    /// # Errors
    /// The field and a message, where there are two objectives, a radius without a target, or a number out of range.
    pub fn objective(self) -> Result<Option<Objective>, (&'static str, String)> {
        let target = |target| Objective::Target { target, kl_radius: self.kl_radius.unwrap_or(0.0) };
        let given = [
            self.target.map(target),
            self.max_cost.map(Objective::MaxCost),
            self.error_cost.map(Objective::ErrorCost),
            self.tolerance.map(Objective::Tolerance),
        ];
        let mut given = given.into_iter().flatten();
        let (first, second) = (given.next(), given.next());
        if let (Some(first), Some(second)) = (first, second) {
            let (first, second) = (first.name(), second.name());
            let message = format!("{first} and {second} are two objectives, expected one of {NAMES}");
            return Err((second, message));
        }
        if self.kl_radius.is_some() && self.target.is_none() {
            return Err(("kl_radius", "kl_radius is given, expected it with target only".into()));
        }
        first.map(|objective| objective.check().map(|()| objective)).transpose()
    }
}

impl TryFrom<ObjectiveFields> for Objective {
    type Error = String;

    fn try_from(fields: ObjectiveFields) -> Result<Self, String> {
        let objective = fields.objective().map_err(|(_, message)| message)?;
        objective.ok_or_else(|| format!("no objective is given, expected one of {NAMES}"))
    }
}

impl From<Objective> for ObjectiveFields {
    fn from(objective: Objective) -> Self {
        let none = Self::default();
        match objective {
            Objective::Target { target, kl_radius } => {
                Self { target: Some(target), kl_radius: (kl_radius > 0.0).then_some(kl_radius), ..none }
            }
            Objective::MaxCost(cost) => Self { max_cost: Some(cost), ..none },
            Objective::ErrorCost(cost) => Self { error_cost: Some(cost), ..none },
            Objective::Tolerance(tolerance) => Self { tolerance: Some(tolerance), ..none },
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self::Tolerance(0.05)
    }
}

impl Objective {
    /// The first number that is out of range, with a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        let wrong = |field: &'static str, value: f64, expected: &str| {
            Err((field, format!("{field} is {value}, expected {expected}")))
        };
        let (share, amount) = ("a number in 0..=1", "a finite number of 0 or more");
        match *self {
            Self::Target { target, .. } if !is_share(target) => wrong("target", target, share),
            Self::Target { kl_radius, .. } if !is_amount(kl_radius) => wrong("kl_radius", kl_radius, amount),
            Self::MaxCost(value) if !is_amount(value) => wrong("max_cost", value, amount),
            Self::ErrorCost(value) if !is_amount(value) => wrong("error_cost", value, amount),
            Self::Tolerance(value) if !is_share(value) => wrong("tolerance", value, share),
            _ => Ok(()),
        }
    }

    /// The argument's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Target { .. } => "target",
            Self::MaxCost(_) => "max_cost",
            Self::ErrorCost(_) => "error_cost",
            Self::Tolerance(_) => "tolerance",
        }
    }

    /// Whether every model needs prices. A tolerance of 0 chooses the most likely model, whatever it costs.
    pub(super) fn needs_prices(&self) -> bool {
        *self != Self::Tolerance(0.0)
    }

    /// The chance that a model has to reach: that of a target, raised so that it holds in the worst case within the radius.
    pub(super) fn bar(&self, best: f64) -> f64 {
        match *self {
            Self::Target { target, kl_radius } => raised(target, kl_radius),
            Self::Tolerance(tolerance) => best - tolerance,
            Self::MaxCost(_) | Self::ErrorCost(_) => 0.0,
        }
    }

    /// The place of a model in the order: a smaller key comes first. `bar` is that of [`bar`](Self::bar).
    pub(super) fn key(&self, bar: f64, success: f64, cost: f64) -> Key {
        let (group, value) = match *self {
            Self::Target { .. } | Self::Tolerance(_) if success >= bar => (0, cost),
            Self::Target { .. } | Self::Tolerance(_) => (1, -success),
            Self::MaxCost(_) => (0, -success),
            Self::ErrorCost(price) => (0, cost + price * (1.0 - success)),
        };
        Key { group, value, cost }
    }

    /// Why the first model of the order was chosen.
    pub(super) fn reason(&self, key: Key) -> Reason {
        match *self {
            Self::Target { .. } if key.group > 0 => Reason::TargetMissed(*self),
            _ => Reason::Objective(*self),
        }
    }
}

/// Place of a model in the order of an objective. Ties go to the cheaper model, then to the order of the pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    group: u8,
    value: f64,
    cost: f64,
}

impl Key {
    /// A key that orders by one value, then by cost.
    pub(super) fn of(value: f64, cost: f64) -> Self {
        Self { group: 0, value, cost }
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        self.group.cmp(&other.group).then(self.value.total_cmp(&other.value)).then(self.cost.total_cmp(&other.cost))
    }
}

/// The least chance `p` for which no shift within `radius` nats brings success below `target`: `kl(target, p) = radius`, `p` above
/// the target. Found by bisection: the divergence of two coins has no inverse in closed form.
fn raised(target: f64, radius: f64) -> f64 {
    if radius == 0.0 || target == 0.0 || target == 1.0 {
        return target;
    }
    let divergence = |p: f64| target * (target / p).ln() + (1.0 - target) * ((1.0 - target) / (1.0 - p)).ln();
    let (mut low, mut high) = (target, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if divergence(middle) < radius { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(objective: Objective, models: &[(f64, f64)]) -> usize {
        let bar = objective.bar(models.iter().map(|one| one.0).fold(0.0, f64::max));
        let key = |&at: &usize| objective.key(bar, models[at].0, models[at].1);
        (0..models.len()).min_by(|a, b| key(a).cmp(&key(b))).unwrap()
    }

    fn models() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((0.0f64..=1.0, 0.0f64..10.0), 1..20)
    }

    #[test]
    fn a_radius_raises_the_target_to_the_chance_whose_worst_case_is_the_target() {
        for (target, radius) in [(0.85, 0.02), (0.5, 0.1), (0.99, 0.02), (0.01, 0.001)] {
            let p = raised(target, radius);
            let divergence = target * (target / p).ln() + (1.0 - target) * ((1.0 - target) / (1.0 - p)).ln();
            assert!(p > target && (divergence - radius).abs() < 1e-9, "{target} {radius}: {p}");
        }
        // The chance that a large radius asks for is 1 in double precision.
        let raised = [raised(0.0, 1.0), raised(1.0, 1.0), raised(0.99, 1.0), raised(0.7, 0.0)];
        assert_eq!(raised, [0.0, 1.0, 1.0, 0.7]);
    }

    #[test]
    fn numbers_out_of_range_are_refused_and_exactly_one_objective_is_expected() {
        let target = |target, kl_radius| Objective::Target { target, kl_radius };
        for wrong in [target(1.1, 0.0), target(f64::NAN, 0.0), target(0.5, -1.0), Objective::MaxCost(f64::INFINITY)] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let two = ObjectiveFields { target: Some(0.5), max_cost: Some(1.0), ..ObjectiveFields::default() };
        assert!(Objective::try_from(two).is_err() && Objective::try_from(ObjectiveFields::default()).is_err());
    }

    proptest! {
        #[test]
        fn a_target_takes_the_cheapest_that_reaches_it_and_else_the_most_likely(
            models in models(), target in 0.0f64..=1.0,
        ) {
            let (success, cost) = models[first(Objective::Target { target, kl_radius: 0.0 }, &models)];
            let reach: Vec<f64> = models.iter().filter(|one| one.0 >= target).map(|one| one.1).collect();
            match reach.iter().copied().reduce(f64::min) {
                Some(least) => prop_assert!(success >= target && cost == least),
                None => prop_assert_eq!(success, models.iter().map(|one| one.0).fold(0.0, f64::max)),
            }
        }

        #[test]
        fn a_higher_target_or_a_dearer_failure_never_lowers_the_chance(
            models in models(), a in 0.0f64..=1.0, b in 0.0f64..=1.0,
        ) {
            let (low, high) = (a.min(b), a.max(b));
            let error_cost = |price: f64| models[first(Objective::ErrorCost(100.0 * price), &models)].0;
            prop_assert!(error_cost(low) <= error_cost(high) + 1e-9);
            let tolerance = |value| models[first(Objective::Tolerance(value), &models)];
            prop_assert!(tolerance(high).1 <= tolerance(low).1);
        }

        #[test]
        fn the_files_form_of_an_objective_is_the_same_objective(value in 0.0f64..=1.0, radius in 0.0f64..2.0) {
            for objective in [
                Objective::Target { target: value, kl_radius: radius }, Objective::MaxCost(value),
                Objective::ErrorCost(value), Objective::Tolerance(value),
            ] {
                prop_assert_eq!(Objective::try_from(ObjectiveFields::from(objective)).unwrap(), objective);
            }
        }
    }
}
