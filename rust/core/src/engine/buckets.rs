//! What is kept for each shape of a run, as much of it as a limit allows.

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// Whether the entry that was used least recently makes room for a new one. Where not, what is kept stays, and whoever comes
    /// later is refused.
    pub(super) replace: bool,
}

/// Entries by key, the most recently used last. There are few, and a search costs nothing beside a run.
#[derive(Debug)]
pub(super) struct Buckets<K, E> {
    limits: Limits,
    entries: Vec<(K, usize, E)>,
}

impl<K: Copy + PartialEq, E> Buckets<K, E> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: vec![] }
    }

    /// The entry of a key, from now on the most recently used.
    pub(super) fn get(&mut self, key: K) -> Option<&mut E> {
        let place = self.entries.iter().position(|(one, ..)| *one == key)?;
        self.entries[place..].rotate_left(1);
        self.entries.last_mut().map(|(_, _, entry)| entry)
    }

    /// Makes room for a new entry of so many bytes, letting others go where the limits say so. `false` if there is none.
    pub(super) fn make_room(&mut self, bytes: usize) -> bool {
        if bytes > self.limits.bytes || self.limits.entries == 0 {
            return false;
        }
        while self.entries.len() >= self.limits.entries || self.bytes() + bytes > self.limits.bytes {
            if !self.limits.replace {
                return false;
            }
            self.entries.remove(0);
        }
        true
    }

    /// Keeps an entry for which there is room.
    pub(super) fn insert(&mut self, key: K, bytes: usize, entry: E) {
        self.remove(key);
        self.entries.push((key, bytes, entry));
    }

    pub(super) fn remove(&mut self, key: K) {
        self.entries.retain(|(one, ..)| *one != key);
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, bytes, _)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(buckets: &Buckets<u8, u8>) -> Vec<u8> {
        buckets.entries.iter().map(|(key, ..)| *key).collect()
    }

    fn filled(limits: Limits, keys: &[u8]) -> Buckets<u8, u8> {
        let mut buckets = Buckets::new(limits);
        for &key in keys {
            if buckets.make_room(10) {
                buckets.insert(key, 10, key);
            }
        }
        buckets
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut buckets = filled(Limits { entries: 3, bytes: 100, replace: true }, &[1, 2, 3]);
        assert_eq!(buckets.get(1), Some(&mut 1));
        assert!(buckets.make_room(10));
        buckets.insert(4, 10, 4);
        assert_eq!(kept(&buckets), [3, 1, 4]);
        assert_eq!(buckets.get(2), None);
    }

    #[test]
    fn several_go_for_a_large_one_and_none_for_one_that_never_fits() {
        let mut buckets = filled(Limits { entries: 10, bytes: 40, replace: true }, &[1, 2, 3, 4]);
        assert!(!buckets.make_room(41));
        assert_eq!(kept(&buckets), [1, 2, 3, 4]);
        assert!(buckets.make_room(15));
        assert_eq!(kept(&buckets), [3, 4]);
    }

    #[test]
    fn where_nothing_is_replaced_the_first_stay() {
        assert_eq!(kept(&filled(Limits { entries: 2, bytes: 100, replace: false }, &[1, 2, 3])), [1, 2]);
        assert_eq!(kept(&filled(Limits { entries: 9, bytes: 25, replace: false }, &[1, 2, 3])), [1, 2]);
    }

    proptest! {
        #[test]
        fn limits_hold_and_the_newest_is_there(
            steps in prop::collection::vec((0u8..12, 1usize..30), 1..60), entries in 1usize..6, bytes in 20usize..80,
        ) {
            let mut buckets = Buckets::new(Limits { entries, bytes, replace: true });
            for (key, size) in steps {
                if buckets.get(key).is_none() {
                    prop_assert_eq!(buckets.make_room(size), size <= bytes);
                    if size <= bytes {
                        buckets.insert(key, size, key);
                        prop_assert_eq!(buckets.get(key), Some(&mut key.clone()));
                    }
                }
                prop_assert!(buckets.entries.len() <= entries && buckets.bytes() <= bytes);
            }
        }
    }
}
