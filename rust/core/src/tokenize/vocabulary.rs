//! The vocabulary of a WordPiece `tokenizer.json`: nearly all of the file, and the one part that a general JSON reader is slow at.
//!
//! The object is cut out of the text and read here; what is left is a small file for `serde`.
//!
//! Performance notes: strings are looked through eight bytes at a time, and pieces go into their table straight from the text, without a
//! list or a copy of them in between.

use std::borrow::Cow;

use super::pieces::PieceTable;

/// Larger vocabularies are left to the crate.
const MAX_PIECES: usize = 1 << 20;
/// Longer pieces are left to the crate.
const MAX_PIECE_BYTES: usize = 256;
/// Pieces that go into the table at once.
const BATCH: usize = 64;
const KEY: &str = "\"vocab\"";

/// Pieces with their ids.
pub(super) struct Vocabulary {
    pub(super) pieces: PieceTable,
    pub(super) largest: u32,
}

/// Cuts the value of the first key `"vocab"` out of a JSON text; returns it and the text with an empty object in its place, which is
/// JSON if the whole text is. Nothing if the value is no object of pieces and their ids, or if a piece or an id occurs twice.
pub(super) fn cut_out(json: &str) -> Option<(Vocabulary, String)> {
    let mut scan = Scan { text: json, at: json.find(KEY)? + KEY.len() };
    scan.expect(b':')?;
    scan.spaces();
    let start = scan.at;
    let vocabulary = scan.vocabulary()?;
    Some((vocabulary, [&json[..start], "{}", &json[scan.at..]].concat()))
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn vocabulary(&mut self) -> Option<Vocabulary> {
        let rest = &self.text.as_bytes()[self.at..];
        // There is a comma between two pieces, and some elsewhere.
        let most = 1 + rest.iter().filter(|&&byte| byte == b',').count().min(MAX_PIECES);
        let (mut pieces, mut seen, mut largest) = (PieceTable::with_capacity(most), vec![false; 2 * most], 0);
        let mut batch = Vec::with_capacity(BATCH);
        self.expect(b'{')?;
        for count in 1..=MAX_PIECES {
            let piece = self.string()?;
            self.expect(b':')?;
            let id = self.number()?;
            let is_new = seen.get_mut(id as usize).is_some_and(|seen| !std::mem::replace(seen, true));
            if !is_new || piece.len() > MAX_PIECE_BYTES {
                return None;
            }
            largest = id.max(largest);
            batch.push((piece, id));
            let end = self.next()?;
            if end == b'}' || batch.len() == BATCH {
                if !pieces.insert_all(&batch) {
                    return None;
                }
                batch.clear();
            }
            match end {
                b',' => {}
                // Ids far beyond the number of pieces are left to the crate.
                b'}' => return ((largest as usize) < 2 * count).then_some(Vocabulary { pieces, largest }),
                _ => return None,
            }
        }
        None
    }

    fn spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not a space.
    fn next(&mut self) -> Option<u8> {
        self.spaces();
        let byte = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        byte
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let plain = plain_bytes(rest);
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => break,
                // The byte after it may be a quote.
                Some(b'\\') => (self.at, has_escapes) = (self.at + 2, true),
                Some(0..0x20) | None => return None,
                // The look ended here.
                Some(_) => {}
            }
        }
        let string = self.text.get(start..self.at)?;
        self.at += 1;
        if has_escapes {
            return serde_json::from_str(self.text.get(start - 1..self.at)?).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(string))
    }

    /// A whole number without a sign. Of any other number, what is left is neither a comma nor the end of an object.
    fn number(&mut self) -> Option<u32> {
        self.spaces();
        let rest = self.text.as_bytes().get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 1 && rest[0] == b'0' {
            return None;
        }
        let number = self.text[self.at..self.at + digits].parse().ok()?;
        self.at += digits;
        Some(number)
    }
}

/// Bytes before the first of the next eight that is a quote, a backslash or a control character; eight, or as many as there are, if
/// none is.
fn plain_bytes(rest: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let Some(eight) = rest.first_chunk::<8>() else {
        return rest.iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count();
    };
    let eight = u64::from_le_bytes(*eight);
    // Sets the top bit of bytes below a bound; borrows reach only bytes after the first of them.
    let below = |value: u64, bound: u64| value.wrapping_sub(ONES * bound) & !value;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    let found = (below(eight, 0x20) | is(b'"') | is(b'\\')) & TOPS;
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(vocabulary: &str) -> Option<(Vocabulary, String)> {
        cut_out(&format!("{{\"a\": 1, \"vocab\" :\n{vocabulary} , \"b\": 2}}"))
    }

    #[test]
    fn the_object_is_cut_out_of_the_text() {
        let (vocabulary, rest) =
            read("{\"[UNK]\":0,\n \"a,b\" : 9, \"\\\"\":3,\"\\u00e9\\\\\":4, \"ünïcödé, a longer one\": 1}").unwrap();
        assert_eq!(rest, "{\"a\": 1, \"vocab\" :\n{} , \"b\": 2}");
        assert_eq!(vocabulary.largest, 9);
        for (piece, id) in [("[UNK]", 0), ("a,b", 9), ("\"", 3), ("é\\", 4), ("ünïcödé, a longer one", 1)] {
            assert_eq!(vocabulary.pieces.id_of(piece), Some(id), "{piece}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_crate() {
        assert!(read("{\"a\":0}").is_some());
        let long = format!("{{\"{}\":0}}", "a".repeat(MAX_PIECE_BYTES + 1));
        for other in [
            "{}",
            "[]",
            "{\"a\":0,}",
            "{\"a\":0,,\"b\":1}",
            "{\"a\" 0}",
            "{a:0}",
            "{\"a\":0 \"b\":1}",
            "{\"a\":\"0\"}",
            "{\"a\":-1}",
            "{\"a\":+1}",
            "{\"a\":1.0}",
            "{\"a\":1e0}",
            "{\"a\":00}",
            "{\"a\":01}",
            "{\"a\":}",
            "{\"a\":4294967296}",
            "{\"a\":9}",
            "{\"a\":0,\"b\":0}",
            "{\"a\":0,\"a\":1}",
            "{\"a\\x\":0}",
            "{\"a\\ud800\":0}",
            "{\"a\n\":0}",
            "{\"a\u{1}\":0}",
            "{\"a\\",
            "{\"a\\\"",
            "{\"",
            "{\"a\":0,\"\\u0061\":1}",
            &long,
        ] {
            assert!(read(other).is_none(), "{other}");
        }
        assert!(cut_out("{\"vocab\":{\"a\":0").is_none() && cut_out("{\"vocab\":{\"a\":0,").is_none());
        assert!(cut_out("{\"vocabulary\":{\"a\":0}}").is_none() && cut_out("{\"vocab\"").is_none());
    }

    proptest! {
        #[test]
        fn plain_bytes_are_those_before_the_first_that_is_not(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let is_plain = |&&byte: &&u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
            let expected = bytes.iter().take(if bytes.len() < 8 { bytes.len() } else { 8 }).take_while(is_plain).count();
            prop_assert_eq!(plain_bytes(&bytes), expected);
        }

        #[test]
        fn a_vocabulary_is_what_a_json_reader_reads(pieces in prop::collection::hash_set("[ -~\"\\\\é字\\n]{0,20}", 1..20), pretty: bool) {
            let map: serde_json::Map<_, _> = pieces.iter().zip(0..).map(|(piece, id)| (piece.clone(), serde_json::json!(id))).collect();
            let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) }.unwrap();
            let (vocabulary, _) = read(&text).unwrap();
            prop_assert_eq!(vocabulary.largest as usize, pieces.len() - 1);
            for (piece, id) in pieces.iter().zip(0..) {
                let expected = (!piece.trim_start_matches("##").is_empty()).then_some(id);
                prop_assert!(vocabulary.pieces.id_of(piece) == expected || piece.starts_with("##"));
            }
        }
    }
}
