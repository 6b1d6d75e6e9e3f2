//! The checks of every parser on a fixed number of inputs: the seeds in `fuzz/seeds`, mutations of them,
//! and random bytes. The same inputs in every run; libFuzzer searches for others.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

/// How many inputs each check gets besides the seeds, unless the variable `FUZZ_INPUTS` says.
const INPUTS: u64 = 2000;

/// What parsers treat specially.
const TOKENS: [&str; 24] = [
    "#",
    "&",
    "=",
    "%",
    "%00",
    "+",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\n",
    "\0",
    "é",
    "null",
    "-1",
    "1e999",
    "9223372036854775808",
    "18446744073709551616",
    "T24:00:00Z",
    "10000-01-01",
];

/// A small generator of pseudo-random numbers ([xorshift64*](https://en.wikipedia.org/wiki/Xorshift)).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.next() % limit).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn seeds(check: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(check);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One to six changes of a seed; or, now and then, random bytes.
fn input(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    if random.below(10) == 0 {
        return (0..random.below(80)).map(|_| random.byte()).collect();
    }
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(12)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] = random.byte(),
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => input.truncate(at),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied().take(40));
            }
            _ => drop(input.splice(at..end, TOKENS[random.below(TOKENS.len())].bytes())),
        }
    }
    input
}

fn run(name: &str, check: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty());
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ name.len() as u64);
    let count = std::env::var("FUZZ_INPUTS").map_or(INPUTS, |count| count.parse().unwrap());
    let mutations = (0..count).map(|_| input(&seeds, &mut random));
    for input in seeds.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
            eprintln!("{name} fails on b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

macro_rules! checks {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), fuzz_checks::$name);
            }
        )*
    };
}

checks!(catalogue, cursor, date, dynamodb_response, parts, query_string, queue_message, snapshot);
