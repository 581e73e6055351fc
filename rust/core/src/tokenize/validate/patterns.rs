//! How much time a regular expression of a tokenizer may take.

use fancy_regex::Expr;

const MAX_PATTERN: usize = 2000;
const MAX_LOOK_AROUND: usize = 32;

/// Bounds the time of a regular expression. Most are matched in one pass over a text, with as many steps for each character as the pattern
/// has when its bounded repeats are written out. Those with a look-around or a possessive repeat are matched by trying: what a look-around
/// holds again from each character on, and repeats inside repeats in every way in which they can share a text.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    // What cannot be parsed is refused by the crate.
    let Ok(tree) = Expr::parse_tree(pattern).map(|tree| tree.expr) else { return Ok(()) };
    let size = written_out(&tree);
    if size > MAX_PATTERN {
        return Err(format!(
            "a regular expression of {size} steps, with its repeats written out; at most {MAX_PATTERN}"
        ));
    }
    if !holds(&tree, &is_tried) {
        return Ok(());
    }
    let varies = |node: &Expr| matches!(node, Expr::Repeat { lo, hi, .. } if lo != hi && *hi > 1);
    let varies_within = |node: &Expr| children(node).iter().any(|part| holds(part, &varies));
    let repeats = |node: &Expr| matches!(node, Expr::Repeat { hi: 2.., .. });
    if holds(&tree, &|node| matches!(node, Expr::LookAround(..)) && written_out(node) > MAX_LOOK_AROUND) {
        Err(format!("a look-around of more than {MAX_LOOK_AROUND} steps, with its repeats written out"))
    } else if holds(&tree, &|node| repeats(node) && varies_within(node)) {
        Err("a regular expression with a look-around or the like, and a repeat of varying length inside a repeat"
            .into())
    } else if holds(&tree, &|node| is_tried(node) && !matches!(node, Expr::LookAround(..) | Expr::AtomicGroup(_))) {
        Err("a regular expression with a back reference, a condition or a call of a group".into())
    } else {
        Ok(())
    }
}

/// Steps of an expression with its bounded repeats written out.
fn written_out(node: &Expr) -> usize {
    let parts = || children(node).iter().fold(0usize, |total, part| total.saturating_add(written_out(part)));
    match node {
        Expr::Literal { val, .. } => val.chars().count(),
        Expr::Repeat { lo, hi: usize::MAX, .. } => parts().max(1).saturating_mul((*lo).max(1)),
        Expr::Repeat { hi, .. } => parts().max(1).saturating_mul((*hi).max(1)),
        _ => parts().max(1),
    }
}

/// Whether a part of the expression is of a kind. The parser bounds how deep it is nested.
fn holds(node: &Expr, is_of_kind: &dyn Fn(&Expr) -> bool) -> bool {
    is_of_kind(node) || children(node).iter().any(|part| holds(part, is_of_kind))
}

/// Whether a part is matched by trying.
fn is_tried(node: &Expr) -> bool {
    let is_one_pass = matches!(
        node,
        Expr::Empty
            | Expr::Any { .. }
            | Expr::Assertion(_)
            | Expr::Literal { .. }
            | Expr::Delegate { .. }
            | Expr::Concat(_)
            | Expr::Alt(_)
            | Expr::Group(_)
            | Expr::Repeat { .. }
    );
    !is_one_pass
}

fn children(node: &Expr) -> Vec<&Expr> {
    match node {
        Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().collect(),
        Expr::Group(part) | Expr::AtomicGroup(part) | Expr::LookAround(part, _) | Expr::Repeat { child: part, .. } => {
            vec![part]
        }
        Expr::Conditional { condition, true_branch, false_branch } => vec![condition, true_branch, false_branch],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_repeats_inside_each_other_multiply() {
        let size = |pattern: &str| written_out(&Expr::parse_tree(pattern).unwrap().expr);
        assert_eq!(size("abc"), 3);
        assert_eq!(size("a{3}(bc){1,10}"), 23);
        assert_eq!(size("((a{1,100}){1,100}){1,100}"), 1_000_000);
        assert!(
            size(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+"
            ) < 120
        );
        assert_eq!(size("(((((a){999999}){999999}){999999}){999999}){999999}"), usize::MAX);
    }

    #[test]
    fn patterns_that_are_tried_over_and_over_are_refused() {
        for (hostile, reason) in [
            ("(?=(?:a{0,43}){0,43}b)a", "a look-around of more than 32 steps"),
            ("(?<!a{1,100})b", "a look-around of more than 32 steps"),
            ("(?:a*)*(?!b)", "a repeat of varying length inside a repeat"),
            ("(?:a?b+){2,}(?!b)", "a repeat of varying length inside a repeat"),
            ("(?>(a+)+)b", "a repeat of varying length inside a repeat"),
            (r"(a)\1", "a back reference"),
            (r"(?<x>a|b\g<x>)", "a call of a group"),
            ("(a)?(?(1)b|c)", "a condition"),
            ("a{2001}", "of 2001 steps"),
        ] {
            let found = check_pattern(hostile).unwrap_err();
            assert!(found.contains(reason), "{hostile}: {found}");
        }
        // GPT-2, cl100k (with and without possessive repeats), o200k, digits in threes from the right, and what is matched in one pass.
        for known in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
            "(?:a{1,40}){1,40}b",
            "[(?=*)]+",
        ] {
            assert_eq!(check_pattern(known), Ok(()), "{known}");
        }
    }
}
