//! New inputs from old ones, by a seed: the same seed makes the same inputs, on every machine and with every compiler.
//!
//! It is as simple as it can be: it knows no coverage. libFuzzer does (`fuzz/`), where nightly Rust is at hand.

/// Longer inputs are cut: what is long is in the corpora, and mutations of it would take all the time.
const MOST_BYTES: usize = 64 << 10;

/// How many changes an input gets at most.
const MOST_CHANGES: u64 = 6;

/// What is put into inputs of any target: what ends, nests, escapes, counts too far, or is no UTF-8.
const TOKENS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\0",
    b"\"",
    b"'",
    b"\\",
    b"\xff",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\x1b[31m",
    b"\xc2\x9b",
    b"-1",
    b"0",
    b"4294967296",
    b"18446744073709551616",
    b"1e999",
    b" ",
    b"  ",
    b"\t",
    b"..",
    b"/",
    b"%00",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"&",
    b";",
    b"$(touch ran)",
    b"`touch ran`",
    b"|touch ran",
    b"&&touch ran\n",
    b"=",
    b",",
    b":",
    b"#",
    b"-",
    b"--",
    b"~",
    b"*",
    b"{a,b}",
    b"${IFS}",
    b"!",
    b"\xe2\x80\xae",
];

/// Numbers by a seed: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Makes the numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below another one; 0 below 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        usize::try_from(self.number() % limit.max(1)).unwrap_or(0)
    }

    /// Returns one of some.
    pub fn one_of<'a, T>(&mut self, some: &'a [T]) -> Option<&'a T> {
        some.get(self.below(some.len()))
    }
}

/// Returns an input with a few changes; `others` lends parts of its own, `words` are those of the format.
pub fn mutated(random: &mut Random, input: &[u8], others: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.number() % MOST_CHANGES {
        change(random, &mut bytes, others, words);
        bytes.truncate(MOST_BYTES);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below((bytes.len() - at + 1).min(64));
    match random.number() % 8 {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (random.number() % 8);
            }
        }
        1 => drop(bytes.drain(at..end)),
        2 => bytes.truncate(at),
        3 => {
            let part = bytes.get(at..end).unwrap_or_default().repeat(1 + random.below(8));
            insert(bytes, at, &part);
        }
        4 => {
            let other = random.one_of(others).map(Vec::as_slice).unwrap_or_default();
            let from = random.below(other.len() + 1);
            let to = from + random.below((other.len() - from + 1).min(256));
            insert(bytes, at, other.get(from..to).unwrap_or_default());
        }
        5 => {
            let word = random.one_of(TOKENS).copied().unwrap_or_default();
            insert(bytes, at, word);
        }
        6 => {
            let word = random.one_of(words).copied().unwrap_or_default();
            insert(bytes, at, word);
        }
        _ => {
            let word = random.one_of(words).copied().unwrap_or_default();
            drop(bytes.splice(at..end, word.iter().copied()));
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    drop(bytes.splice(at..at, part.iter().copied()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_inputs_for_ever() {
        let inputs = |seed| -> Vec<Vec<u8>> {
            let mut random = Random::new(seed);
            (0..50).map(|_| mutated(&mut random, b"hello", &[b"world".to_vec()], &[b"x"])).collect()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert_eq!(Random::new(7).number(), 0x63cb_e1e4_5932_0dd7, "a new generator: say so");
    }
}
