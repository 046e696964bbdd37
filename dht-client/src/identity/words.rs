//! The words of an identity: how it is kept on paper, after [BIP39], in English.
//!
//! ```text
//! entropy (16 or 32 bytes) ◀─▶ 12 or 24 words (with a checksum)
//!                                  │ PBKDF2-HMAC-SHA512, 2,048 rounds, with the passphrase
//!                                  ▼
//!                              seed (64 bytes) ─▶ root = derive(IdentityRoot, seed)
//! ```
//!
//! Another passphrase over the same words is another identity: nothing tells a wrong one.
//!
//! [BIP39]: https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki

use std::cmp::Reverse;
use std::fmt;

use bip39::{Language, Mnemonic};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};
use crate::entropy::{Entropy, EntropyError};

/// How many words an identity has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordCount {
    /// 128 bits of entropy.
    Twelve,
    /// 256 bits of entropy.
    TwentyFour,
}

/// Words with a checksum that holds; overwritten in memory when dropped, and never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(Mnemonic);

/// What was typed is not the words of an identity.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WordsError {
    /// Neither 12 nor 24.
    #[error(
        "{0} words were given, and an identity has 12 or 24; look for one that is missing or written twice"
    )]
    Count(usize),
    /// No such word.
    #[error("word {position} ('{word}') is not on the list; you may mean '{nearest}'")]
    Unknown {
        /// Which one, from 1.
        position: usize,
        /// What was typed.
        word: String,
        /// The word on the list that is most like it.
        nearest: &'static str,
    },
    /// Each word is right, all together are not.
    #[error(
        "these words do not belong together; compare each, and their order, with what you wrote down"
    )]
    Checksum,
}

impl WordCount {
    /// The count as a number.
    #[must_use]
    pub fn get(self) -> usize {
        match self {
            WordCount::Twelve => 12,
            WordCount::TwentyFour => 24,
        }
    }

    fn of(count: usize) -> Option<Self> {
        [WordCount::Twelve, WordCount::TwentyFour].into_iter().find(|known| known.get() == count)
    }
}

impl Words {
    /// New words.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn generate(count: WordCount, entropy: &Entropy) -> Result<Self, EntropyError> {
        let secret = entropy.secret::<32>()?;
        let used = match count {
            WordCount::Twelve => secret.first_chunk::<16>().map(<[u8; 16]>::as_slice),
            WordCount::TwentyFour => Some(secret.as_slice()),
        };
        // Half of a secret and the whole are both of a length that words have.
        Ok(used.and_then(Words::of_entropy).unwrap_or_else(|| unreachable!("a length of words")))
    }

    /// Reads words as somebody typed them: in any case, between any white space.
    ///
    /// # Errors
    /// [`WordsError`] says what is wrong, and where.
    pub fn parse(typed: &str) -> Result<Self, WordsError> {
        let count = typed.split_whitespace().count();
        if WordCount::of(count).is_none() {
            return Err(WordsError::Count(count));
        }
        let lower = Zeroizing::new(typed.to_lowercase());
        match Mnemonic::parse_in_normalized(Language::English, &lower) {
            Ok(words) => Ok(Words(words)),
            Err(bip39::Error::UnknownWord(at)) => {
                let word = lower.split_whitespace().nth(at).unwrap_or_default();
                Err(WordsError::Unknown {
                    position: at + 1,
                    word: word.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect(),
                    nearest: nearest(word),
                })
            }
            Err(_) => Err(WordsError::Checksum),
        }
    }

    /// The words with this entropy; nothing if it is neither 16 nor 32 bytes.
    pub(super) fn of_entropy(entropy: &[u8]) -> Option<Self> {
        let words = Mnemonic::from_entropy_in(Language::English, entropy).ok().map(Words)?;
        WordCount::of(words.0.word_count()).map(|_| words)
    }

    /// What the words stand for: 16 or 32 bytes.
    pub(super) fn to_entropy(&self) -> Zeroizing<Vec<u8>> {
        let (array, len) = self.0.to_entropy_array();
        let array = Zeroizing::new(array);
        Zeroizing::new(array.get(..len).unwrap_or_default().to_vec())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.word_count()
    }

    /// The words with a space between each two: the secret itself.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_MAX));
        for word in self.0.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The root of the identity that these words and this passphrase, perhaps empty, stand for.
    pub(super) fn root(&self, passphrase: &str) -> Zeroizing<[u8; 32]> {
        let seed = Zeroizing::new(self.0.to_seed(passphrase));
        derive(Purpose::IdentityRoot, None, &[seed.as_slice()])
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} of them)", self.count())
    }
}

/// 24 words of at most 8 letters, and what lies between.
const TEXT_MAX: usize = 24 * 9;
/// Letters of a typed word that are compared and shown: twice the longest on the list.
const SHOWN_MAX: usize = 16;

/// The word on the list that takes the fewest changes of a letter; of these one as long as what was
/// typed, as who swaps two letters makes two changes; of these the one that begins most alike.
fn nearest(typed: &str) -> &'static str {
    let typed: Vec<char> = typed.chars().take(SHOWN_MAX).collect();
    let likeness = |word: &&&str| {
        let alike = typed.iter().zip(word.chars()).take_while(|(one, two)| **one == *two).count();
        (changes(&typed, word), word.len().abs_diff(typed.len()), Reverse(alike))
    };
    Language::English.word_list().iter().min_by_key(likeness).copied().unwrap_or_default()
}

/// The Levenshtein distance, one row of its table at a time.
fn changes(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (line, letter) in to.chars().enumerate() {
        let mut last = line + 1;
        let mut next = vec![last];
        for (typed, above) in from.iter().zip(row.windows(2)) {
            let (corner, above) = match above {
                [corner, above] => (*corner, *above),
                _ => break,
            };
            last = (corner + usize::from(*typed != letter)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own: entropy, words, seed with the passphrase `TREZOR`.
    const VECTORS: &str = include_str!("bip39_vectors.txt");

    fn vectors() -> impl Iterator<Item = [&'static str; 3]> {
        let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split('|').collect::<Vec<_>>().try_into().unwrap())
    }

    #[test]
    fn the_vectors_of_the_standard_hold() {
        assert_eq!(vectors().count(), 16);
        for [entropy, text, seed] in vectors() {
            let words = Words::parse(text).unwrap();
            assert_eq!(hex::encode(words.to_entropy()), entropy);
            assert_eq!(Words::of_entropy(&hex::decode(entropy).unwrap()).unwrap(), words);
            assert_eq!(words.to_text().as_str(), text);
            assert_eq!(hex::encode(words.0.to_seed("TREZOR")), seed);
            let root = derive(Purpose::IdentityRoot, None, &[&hex::decode(seed).unwrap()]);
            assert_eq!(words.root("TREZOR"), root);
            assert_ne!(words.root(""), root);
        }
    }

    #[test]
    fn words_are_read_in_any_case_and_between_any_space() {
        let [_, text, _] = vectors().next().unwrap();
        let typed = format!("\n  {}\t", text.to_uppercase().replace(' ', " \r\n "));
        assert_eq!(Words::parse(&typed).unwrap(), Words::parse(text).unwrap());
    }

    #[test]
    fn what_is_wrong_with_words_is_said_one_by_one() {
        let [_, text, _] = vectors().nth(1).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(Words::parse("").unwrap_err(), WordsError::Count(0));
        assert_eq!(Words::parse(&words[1..].join(" ")).unwrap_err(), WordsError::Count(11));
        assert_eq!(
            Words::parse(&format!("{text} zoo zoo zoo")).unwrap_err(),
            WordsError::Count(15)
        );
        let with = |at: usize, word| {
            let mut words = words.clone();
            words[at] = word;
            Words::parse(&words.join(" ")).unwrap_err()
        };
        for (typed, nearest) in
            [("legla", "legal"), ("ablx", "able"), ("zzo", "zoo"), ("windo", "window")]
        {
            let error = with(4, typed);
            let unknown = WordsError::Unknown { position: 5, word: typed.to_owned(), nearest };
            assert_eq!(error, unknown);
            assert!(error.to_string().contains(nearest) && error.to_string().contains("word 5"));
        }
        assert_eq!(with(0, "zoo"), WordsError::Checksum);
        let WordsError::Unknown { word, .. } = with(0, "\u{1b}[2Jxxxxxxxxxxxxxxxxxxxxxxxxxx")
        else {
            panic!("it is not on the list");
        };
        assert_eq!(word, "\\u{1b}[2jxxxxxxxxxxxx", "nothing that moves a cursor, nothing long");
    }

    #[test]
    fn new_words_are_as_many_as_asked_for_and_never_the_same() {
        let entropy = Entropy::from_seed([1; 32]);
        for count in [WordCount::Twelve, WordCount::TwentyFour] {
            let words = Words::generate(count, &entropy).unwrap();
            assert_eq!(words.count(), count.get());
            assert_eq!(Words::parse(&words.to_text()).unwrap(), words);
            assert_ne!(Words::generate(count, &entropy).unwrap(), words);
        }
        assert!(Words::of_entropy(&[0; 24]).is_none(), "18 words are the standard's, not ours");
    }

    #[test]
    fn debug_prints_no_word() {
        let words = Words::parse(vectors().next().unwrap()[1]).unwrap();
        assert_eq!(format!("{words:?}"), "Words(12 of them)");
    }
}
