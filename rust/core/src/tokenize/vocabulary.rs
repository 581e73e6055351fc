//! The vocabulary of a WordPiece `tokenizer.json`: nearly all of the file, and the one part that a general JSON reader is slow at.
//!
//! The object is cut out of the text and read here; what is left is a small file for `serde`.
//!
//! Performance notes: strings are looked through eight bytes at a time, and pieces go into their table straight from the text, in batches, without a
//! copy of their texts.

use super::pieces::PieceTable;
use crate::artifact::FileBytes;

/// Larger vocabularies are left to the crate.
const MAX_PIECES: usize = 1 << 20;
/// Longer pieces are left to the crate.
const MAX_PIECE_BYTES: usize = 256;
/// Ids have fewer.
const MAX_DIGITS: usize = 8;
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
pub(super) fn cut_out(json: &FileBytes) -> Option<(Vocabulary, String)> {
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let mut scan = Scan { text: text.as_bytes(), at: text.find(KEY)? + KEY.len() };
    scan.expect(b':')?;
    scan.spaces();
    let start = scan.at;
    let rest = &scan.text[start..];
    // There is a comma between two pieces, and some elsewhere.
    let commas = rest.chunks(255).map(|chunk| chunk.iter().map(|&byte| u8::from(byte == b',')).sum::<u8>());
    let most = 1 + commas.map(usize::from).sum::<usize>().min(MAX_PIECES);
    let mut pieces = PieceTable::new(json.clone(), most);
    let largest = scan.vocabulary(&mut pieces, most)?;
    Some((Vocabulary { pieces, largest }, [&text[..start], "{}", &text[scan.at..]].concat()))
}

/// Reads JSON that is known to be UTF-8.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Puts an object of at most so many pieces into a table; returns the largest id.
    fn vocabulary(&mut self, pieces: &mut PieceTable, most: usize) -> Option<u32> {
        let (mut seen, mut largest) = (vec![0u64; most.div_ceil(32)], 0);
        let mut batch = Vec::with_capacity(BATCH);
        self.expect(b'{')?;
        for count in 1..=most {
            let (start, length) = self.string(pieces)?;
            self.expect(b':')?;
            let id = self.number()?;
            let (word, bit) = (seen.get_mut(id as usize / 64)?, 1 << (id % 64));
            if *word & bit != 0 || length > MAX_PIECE_BYTES {
                return None;
            }
            *word |= bit;
            largest = id.max(largest);
            batch.push(pieces.entry(start, length, id)?);
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
                b'}' => return ((largest as usize) < 2 * count).then_some(largest),
                _ => return None,
            }
        }
        None
    }

    #[inline(always)]
    fn spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not a space.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        self.spaces();
        let byte = self.text.get(self.at).copied();
        self.at += 1;
        byte
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Where the text of a string starts, in the file or where `pieces` keeps it, and its length.
    #[inline(always)]
    fn string(&mut self, pieces: &mut PieceTable) -> Option<(usize, usize)> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.text.get(self.at..)?;
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
        let end = self.at;
        self.at += 1;
        if has_escapes {
            let text: String = serde_json::from_slice(self.text.get(start - 1..self.at)?).ok()?;
            return Some((pieces.keep(text.as_bytes()), text.len()));
        }
        Some((start, end - start))
    }

    /// A whole number without a sign. Of any other number, of a longer one too, what is left is neither a comma nor the end of an object.
    #[inline(always)]
    fn number(&mut self) -> Option<u32> {
        self.spaces();
        let rest = self.text.get(self.at..)?;
        let (mut number, mut count) = (0u32, 0);
        for digit in rest.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|&digit| digit < 10).take(MAX_DIGITS) {
            (number, count) = (10 * number + u32::from(digit), count + 1);
        }
        self.at += count;
        let has_zero_before = count > 1 && rest[0] == b'0';
        (count > 0 && !has_zero_before).then_some(number)
    }
}

/// Bytes before the first of the next eight that is a quote, a backslash or a control character; eight, or as many as there are, if
/// none is.
#[inline(always)]
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
        cut_out(&FileBytes::from(format!("{{\"a\": 1, \"vocab\" :\n{vocabulary} , \"b\": 2}}").as_bytes()))
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
        for other in [
            "{\"vocab\":{\"a\":0",
            "{\"vocab\":{\"a\":0,",
            "{\"vocabulary\":{\"a\":0}}",
            "{\"vocab\"",
            "{\"vocab\":{\"a",
        ] {
            assert!(cut_out(&FileBytes::from(other.as_bytes())).is_none(), "{other}");
        }
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
