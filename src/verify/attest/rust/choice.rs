//! Choices are made at run time: one program holds the tests as they are and their controls, and which of them a
//! process runs depends on random words that it reads from its stdin. A place in a test takes one way if its word is
//! the number that stands there, and the other way if not; which of the two is the true one is a coin tossed for
//! every place. So neither the words nor the program by themselves tell a control from a test, and the token that a
//! test writes at its end is in neither of them.

use super::super::Draw;
use super::names;

/// An attribute for what is written here, whatever lints a crate denies.
const LENIENT: &str = "#[allow(warnings, unused, future_incompatible, nonstandard_style, rust_2018_idioms, \
    missing_docs, trivial_casts, trivial_numeric_casts, unreachable_pub, unused_import_braces, \
    unused_qualifications, unused_results, clippy::all)]";

/// Two ways to go on, one of them true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which word of the input decides.
    pub word: usize,
    key: u64,
    /// Whether the true way is the one that is taken when word and key are the same.
    equal: bool,
}

/// A test's token: two words, each masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The first of the two words of the input.
    pub word: usize,
    masks: [u64; 2],
}

/// The words that all places of a program use, and what its code calls them by.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    /// How many words are in use.
    words: usize,
    places: Vec<Place>,
    /// The module that reads them, in every crate's root.
    module: String,
    /// The function in it that gives one.
    function: String,
    /// What it calls the standard library.
    library: String,
    /// Whether lints may be allowed: a crate can forbid that.
    pub lenient: bool,
}

impl Choices {
    pub fn new(draw: &mut Draw) -> Choices {
        let mut name = || format!("{}_{}", names::word(draw), draw.below(100_000));
        Choices {
            words: 0,
            places: Vec::new(),
            module: name(),
            function: name(),
            library: name(),
            lenient: true,
        }
    }

    /// An attribute for what is written here.
    pub fn attribute(&self) -> &'static str {
        if self.lenient { LENIENT } else { "" }
    }

    /// The standard library by a path that nothing in the crate can shadow.
    pub fn library(&self) -> String {
        format!("crate::{}::{}", self.module, self.library)
    }

    /// A new place for a choice.
    pub fn place(&mut self, draw: &mut Draw) -> Place {
        self.words += 1;
        let place = Place { word: self.words - 1, key: draw.word(), equal: draw.coin() };
        self.places.push(place);
        place
    }

    /// A new token.
    pub fn token(&mut self, draw: &mut Draw) -> Token {
        self.words += 2;
        Token { word: self.words - 2, masks: [draw.word(), draw.word()] }
    }

    /// An expression that is the first of these two, or the second where the choice is against the truth.
    pub fn expression(&self, place: Place, truth: &str, other: &str) -> String {
        let (one, two) = if place.equal { (truth, other) } else { (other, truth) };
        format!("(if {} == {}u64 {{ {one} }} else {{ {two} }})", self.word(place.word), place.key)
    }

    /// Code that writes a token past libtest's capture of output.
    pub fn beacon(&self, token: Token) -> String {
        let library = self.library();
        let part = |at: usize| format!("{}u64 ^ {}", token.masks[at], self.word(token.word + at));
        format!(
            "{{ use {library}::io::Write as _; let mut out = {library}::io::stdout(); \
             let _ = out.write_all({library}::format!(\"\\n{{:016x}}{{:016x}}\\n\", {}, {}).as_bytes()); \
             let _ = out.flush(); }}",
            part(0),
            part(1)
        )
    }

    /// A statement that has the words read, before anything else can look at stdin.
    pub fn first(&self) -> String {
        format!("let _ = {};", self.word(0))
    }

    fn word(&self, at: usize) -> String {
        format!("crate::{}::{}({at})", self.module, self.function)
    }

    /// The module that every crate with tests gets at the end of its first file: the words, read once, so that a test
    /// that reads stdin finds its end there.
    pub fn reader(&self) -> String {
        let (Choices { module, function, library, .. }, attribute) = (self, self.attribute());
        format!(
            "\n#[cfg(test)] #[doc(hidden)] {attribute} mod {module} {{ \
             pub extern crate std as {library}; \
             static ALL: {library}::sync::OnceLock<{library}::vec::Vec<u8>> = {library}::sync::OnceLock::new(); \
             pub fn {function}(at: usize) -> u64 {{ \
             let all = ALL.get_or_init(|| {{ let mut all = {library}::vec::Vec::new(); \
             let _ = {library}::io::Read::read_to_end(&mut {library}::io::stdin(), &mut all); all }}); \
             let mut word = 0u64; let mut next = at * 8; \
             while next < at * 8 + 8 {{ \
             word = (word << 8) | (if next < all.len() {{ all[next] as u64 }} else {{ 0 }}); next += 1; }} \
             word }} }}\n"
        )
    }

    /// Input for one process, in which every place goes the true way.
    pub fn input(&self, draw: &mut Draw) -> Input {
        let mut input = Input((0..self.words).map(|_| draw.word()).collect());
        for place in &self.places {
            input.send(*place, true);
        }
        input
    }
}

/// What one process reads: its words.
#[derive(Clone, Debug)]
pub(super) struct Input(Vec<u64>);

impl Input {
    /// Sends a place the true way, or against it.
    pub fn send(&mut self, place: Place, truly: bool) {
        let same = truly == place.equal;
        let word = &mut self.0[place.word];
        if same {
            *word = place.key;
        } else if *word == place.key {
            *word ^= 1;
        }
    }

    /// What a process with this input writes as that token.
    pub fn written(&self, token: Token) -> String {
        let part = |at: usize| token.masks[at] ^ self.0[token.word + at];
        format!("{:016x}{:016x}", part(0), part(1))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_where_its_input_sends_it_and_both_ways_stand_in_the_program() {
        let mut draw = Draw(3);
        let mut choices = Choices::new(&mut draw);
        let places: Vec<Place> = (0..64).map(|_| choices.place(&mut draw)).collect();
        let mut firsts = 0;
        for place in &places {
            let text = choices.expression(*place, "1", "2");
            let first = text.contains("{ 1 } else { 2 }");
            firsts += usize::from(first);
            for truly in [true, false] {
                let mut input = choices.input(&mut draw);
                input.send(*place, truly);
                let same = input.0[place.word] == place.key;
                assert_eq!(same == first, truly, "{text}");
            }
        }
        assert!((16..48).contains(&firsts), "the true way is told by its side: {firsts}");
    }

    #[test]
    fn a_token_is_neither_in_the_program_nor_in_the_input() {
        let mut draw = Draw(4);
        let mut choices = Choices::new(&mut draw);
        let token = choices.token(&mut draw);
        let (one, other) = (choices.input(&mut draw), choices.input(&mut draw));
        assert_ne!(one.written(token), other.written(token));
        assert!(!choices.beacon(token).contains(&one.written(token)));
        assert_eq!(one.bytes().len(), 16);
    }
}
