//! What each prompt adds to the wins between tiers.
//!
//! Performance notes: routing walks over this once a decision, so a prompt's battles are added up beforehand by who beat whom, and
//! kept once more in the order of who beat whom: each such sum then runs over a list, and no addition waits for a place in memory.

use super::battles::{A_WINS, B_WINS, Battles};

/// Wins of one tier against another over one prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// `winner * tiers + loser`.
    pub(super) cell: u32,
    /// Number of wins; a tie is half a win for each.
    pub(super) wins: f32,
}

/// Wins by prompt. Battles inside one tier are left out: they say nothing about tiers.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// Where each prompt's entries start; one more than prompts.
    starts: Vec<u32>,
    entries: Vec<Entry>,
    /// Prompts without entries.
    silent: Vec<u32>,
    /// Where the wins of each cell of the matrix start in `wins`; one more than cells.
    cells: Vec<u32>,
    wins: Vec<Win>,
}

/// Wins over one prompt, in the list of who beat whom.
#[derive(Debug, Clone, Copy)]
struct Win {
    prompt: u32,
    wins: f32,
}

impl Outcomes {
    /// Adds up battles; `tier_of` maps a model's number to its tier.
    pub(super) fn new(battles: &Battles, tier_of: &[u16], tiers: usize) -> Self {
        let prompts = battles.vectors.len();
        let (mut starts, mut entries, mut silent) = (Vec::with_capacity(prompts + 1), Vec::new(), Vec::new());
        let columns = (battles.model_a.as_slice(), battles.model_b.as_slice(), battles.outcome.as_slice());
        let prompt_of = battles.prompt.as_slice();
        let (mut battle, mut own) = (0, Vec::<Entry>::new());
        starts.push(0);
        for prompt in 0..prompts {
            own.clear();
            while prompt_of.get(battle) == Some(&(prompt as u32)) {
                let tier = |model: u16| usize::from(tier_of[usize::from(model)]);
                let (a, b) = (tier(columns.0[battle]), tier(columns.1[battle]));
                let mut add = |winner: usize, loser: usize, wins: f32| {
                    let cell = (winner * tiers + loser) as u32;
                    match own.iter_mut().find(|entry| entry.cell == cell) {
                        Some(entry) => entry.wins += wins,
                        None => own.push(Entry { cell, wins }),
                    }
                };
                if a != b {
                    match columns.2[battle] {
                        A_WINS => add(a, b, 1.0),
                        B_WINS => add(b, a, 1.0),
                        _ => {
                            add(a, b, 0.5);
                            add(b, a, 0.5);
                        }
                    }
                }
                battle += 1;
            }
            if own.is_empty() {
                silent.push(prompt as u32);
            }
            entries.extend_from_slice(&own);
            starts.push(entries.len() as u32);
        }
        entries.shrink_to_fit();
        let mut outcomes = Self { starts, entries, silent, cells: vec![0; tiers * tiers + 1], wins: Vec::new() };
        outcomes.sort_by_cell();
        outcomes
    }

    fn sort_by_cell(&mut self) {
        for entry in &self.entries {
            self.cells[entry.cell as usize + 1] += 1;
        }
        for cell in 1..self.cells.len() {
            self.cells[cell] += self.cells[cell - 1];
        }
        let mut next = self.cells.clone();
        self.wins = vec![Win { prompt: 0, wins: 0.0 }; self.entries.len()];
        for (prompt, range) in self.starts.windows(2).enumerate() {
            for entry in &self.entries[range[0] as usize..range[1] as usize] {
                let place = &mut next[entry.cell as usize];
                self.wins[*place as usize] = Win { prompt: prompt as u32, wins: entry.wins };
                *place += 1;
            }
        }
    }

    /// Entries of one prompt.
    #[cfg(feature = "faiss")]
    pub(super) fn of(&self, prompt: usize) -> &[Entry] {
        &self.entries[self.starts[prompt] as usize..self.starts[prompt + 1] as usize]
    }

    /// Whether a prompt says anything about tiers.
    #[cfg(feature = "faiss")]
    pub(super) fn speaks(&self, prompt: usize) -> bool {
        self.starts[prompt] < self.starts[prompt + 1]
    }

    /// Makes prompts that say nothing about tiers infinitely dissimilar.
    pub(super) fn mute(&self, similarities: &mut [f32]) {
        for &prompt in &self.silent {
            similarities[prompt as usize] = f32::NEG_INFINITY;
        }
    }

    /// Adds the weighted wins of every prompt to `wins`.
    pub(super) fn tally(&self, weights: &[f32], wins: &mut [f64]) {
        for (sum, range) in wins.iter_mut().zip(self.cells.windows(2)) {
            let list = &self.wins[range[0] as usize..range[1] as usize];
            let (fours, rest) = list.as_chunks::<4>();
            let mut sums = [0.0f64; 4];
            for four in fours {
                for (sum, win) in sums.iter_mut().zip(four) {
                    *sum += f64::from(weights[win.prompt as usize] * win.wins);
                }
            }
            let rest: f64 = rest.iter().map(|win| f64::from(weights[win.prompt as usize] * win.wins)).sum();
            *sum += sums.iter().sum::<f64>() + rest;
        }
    }
}
