//! Names of models in messages.

use std::collections::HashSet;

/// Names that a message lists.
const SHOWN: usize = 8;

/// The first names of a list, and how many follow.
pub(super) fn shortened(names: &[&str]) -> String {
    first_of(names.iter().map(|name| format!("{name:?}")), ", ")
}

/// The first items of a list, and how many follow.
pub(super) fn first_of(items: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.take(SHOWN).collect::<Vec<_>>().join(separator);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// The known names that are most like one that is not known.
pub(super) fn listed<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> String {
    let wanted = pairs(name);
    let likeness = |other: &str| {
        let found = pairs(other);
        let common = wanted.intersection(&found).count();
        2000 * common / (wanted.len() + found.len()).max(1)
    };
    let mut known: Vec<&str> = known.collect();
    known.sort_by_cached_key(|other| std::cmp::Reverse(likeness(other)));
    shortened(&known)
}

/// Pairs of neighboring characters, without case.
fn pairs(name: &str) -> HashSet<(char, char)> {
    let characters: Vec<char> = name.to_lowercase().chars().collect();
    characters.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_names_come_first() {
        let known = ["llama-3-8b", "gpt-4o-2024-05-13", "gpt-4-1106-preview"];
        assert!(listed(known.into_iter(), "gpt-4o").starts_with("\"gpt-4o-2024-05-13\", \"gpt-4-1106"));
    }

    #[test]
    fn a_long_list_says_how_many_follow() {
        assert_eq!(shortened(&["a"; 10]), format!("{} and 2 more", ["\"a\""; 8].join(", ")));
    }
}
