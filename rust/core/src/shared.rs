//! One copy of what routers of the same file only read: tables of embeddings, tokenizers.
//!
//! Keys are hashes of file contents, so that equal files in two folders share, and a folder that was written anew does not. Only weak
//! references are kept: the last router of a file takes its memory along.

use std::sync::{Arc, Mutex, Weak};

/// Parts of living routers by what they were made of.
#[derive(Debug)]
pub(crate) struct Shared<K, V> {
    parts: Mutex<Vec<(K, Weak<V>)>>,
}

impl<K: PartialEq, V> Shared<K, V> {
    pub(crate) const fn new() -> Self {
        Self { parts: Mutex::new(Vec::new()) }
    }

    /// The part of a living router, or a new one. Parts are made outside the lock; of two that are made at once, one is kept.
    pub(crate) fn get_or_make<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        if let Some(found) = self.with_parts(|parts| find(parts, &key)).flatten() {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        let kept = self.with_parts(|parts| {
            parts.retain(|(_, part)| part.strong_count() > 0);
            find(parts, &key).unwrap_or_else(|| {
                parts.push((key, Arc::downgrade(&made)));
                made.clone()
            })
        });
        Ok(kept.unwrap_or(made))
    }

    /// `None` where another thread holds the lock, which takes it a microsecond: it is not waited for, because in a process that was
    /// forked meanwhile nobody would release it.
    fn with_parts<T>(&self, call: impl FnOnce(&mut Vec<(K, Weak<V>)>) -> T) -> Option<T> {
        self.parts.try_lock().ok().map(|mut parts| call(&mut parts))
    }
}

fn find<K: PartialEq, V>(parts: &[(K, Weak<V>)], key: &K) -> Option<Arc<V>> {
    parts.iter().find(|(known, _)| known == key).and_then(|(_, part)| part.upgrade())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(shared: &Shared<&'static str, String>, key: &'static str) -> Arc<String> {
        shared.get_or_make(key, || Ok::<_, ()>(key.to_uppercase())).unwrap()
    }

    #[test]
    fn one_part_a_key_while_somebody_holds_it() {
        let shared = Shared::new();
        let (first, second, other) = (make(&shared, "a"), make(&shared, "a"), make(&shared, "b"));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        drop((first, second));
        assert_eq!(make(&shared, "c").as_str(), "C");
        assert_eq!(shared.parts.lock().unwrap().len(), 2, "b, and c, which has just been dropped");
    }

    #[test]
    fn a_part_that_cannot_be_made_is_tried_again() {
        let shared = Shared::new();
        assert_eq!(shared.get_or_make("a", || Err::<String, _>("no")), Err("no"));
        assert_eq!(make(&shared, "a").as_str(), "A");
    }

    #[test]
    fn a_lock_that_nobody_releases_is_not_waited_for() {
        let shared = Shared::new();
        let first = make(&shared, "a");
        let _held = shared.parts.lock().unwrap();
        assert!(!Arc::ptr_eq(&first, &make(&shared, "a")));
    }
}
