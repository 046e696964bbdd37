//! [`Name`]: what a name may look like, and its skeleton, which names that read alike share.
//!
//! A name is 3 to [`NAME_CHARS_MAX`] characters of `a-z`, `0-9`, `.`, `_` and `-`; upper case is lowered,
//! and nothing else is repaired: what does not fit is refused with the reason. Separators stand between
//! other characters, one at a time. Names that people would take for an office of the network are
//! [reserved](RESERVED), in whatever form reads like one.
//!
//! The **skeleton** is the name without separators, each character replaced by what it can be mistaken
//! for ([`LOOKALIKES`]); the method is that of Unicode Technical Standard 39, section 4, over these few
//! characters. It goes character by character, so that no order of replacements matters: `rn` and `m`
//! meet because `m` becomes `rn`. Names of one skeleton are claimed at one place, and one of them wins.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The fewest characters of a name: two are left to nobody.
pub const NAME_CHARS_MIN: usize = 3;
/// The most characters of a name: what people still compare by eye.
pub const NAME_CHARS_MAX: usize = 36;

/// What stands between other characters.
const SEPARATORS: [char; 3] = ['.', '_', '-'];

/// Characters that can be mistaken, each with what it becomes in a skeleton.
pub const LOOKALIKES: &[(char, &str)] = &[
    ('0', "o"),
    ('1', "l"),
    ('2', "z"),
    ('5', "s"),
    ('8', "b"),
    ('9', "g"),
    ('i', "l"),
    ('m', "rn"),
    ('w', "vv"),
];

/// Names that nobody can claim, nor one that reads like them: they would speak for the network or for
/// who runs it.
pub const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "anonymous",
    "bootstrap",
    "contact",
    "everyone",
    "help",
    "hostmaster",
    "info",
    "moderator",
    "network",
    "nobody",
    "none",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "registry",
    "root",
    "security",
    "self",
    "service",
    "staff",
    "support",
    "system",
    "team",
    "undefined",
    "webmaster",
];

/// A name of the right form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

/// What names that read alike have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Skeleton(String);

/// What is wrong with a name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameFault {
    /// Too few characters.
    #[error("a name has at least 3 characters; choose a longer one")]
    TooShort,
    /// Too many characters.
    #[error("a name has at most 36 characters; choose a shorter one")]
    TooLong,
    /// A character that no name has.
    #[error(
        "«{}» cannot be part of a name; use letters a to z, digits, and «.», «_» or «-» between them",
        .0.escape_debug()
    )]
    Character(char),
    /// A separator first or last.
    #[error("a name begins and ends with a letter or digit; move the «{0}»")]
    SeparatorOutside(char),
    /// Two separators side by side.
    #[error("«{0}{1}» are two separators in a row; leave one out")]
    SeparatorsInRow(char, char),
    /// It would speak for the network.
    #[error("«{0}» is reserved, as is what reads like it; choose another name")]
    Reserved(&'static str),
}

impl Name {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it has in common with all names that read like it.
    #[must_use]
    pub fn skeleton(&self) -> Skeleton {
        skeleton(&self.0)
    }

    /// How many letters and digits it has: separators make no name longer.
    #[must_use]
    pub fn letters(&self) -> usize {
        self.0.chars().filter(|letter| !SEPARATORS.contains(letter)).count()
    }
}

impl FromStr for Name {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let name = text.to_ascii_lowercase();
        let known = |letter: &char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || SEPARATORS.contains(letter)
        };
        if let Some(stranger) = name.chars().find(|letter| !known(letter)) {
            return Err(NameFault::Character(stranger));
        }
        // All of it is ASCII: a byte is a character.
        match name.len() {
            ..NAME_CHARS_MIN => return Err(NameFault::TooShort),
            NAME_CHARS_MIN..=NAME_CHARS_MAX => {}
            _ => return Err(NameFault::TooLong),
        }
        let separator = |letter: Option<char>| letter.filter(|found| SEPARATORS.contains(found));
        let outside = separator(name.chars().next()).or(separator(name.chars().next_back()));
        if let Some(outside) = outside {
            return Err(NameFault::SeparatorOutside(outside));
        }
        for (one, next) in name.chars().zip(name.chars().skip(1)) {
            if SEPARATORS.contains(&one) && SEPARATORS.contains(&next) {
                return Err(NameFault::SeparatorsInRow(one, next));
            }
        }
        let own = skeleton(&name);
        match RESERVED.iter().find(|reserved| skeleton(reserved) == own) {
            Some(reserved) => Err(NameFault::Reserved(reserved)),
            None => Ok(Name(name)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Skeleton {
    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn skeleton(name: &str) -> Skeleton {
    let mut bones = String::with_capacity(2 * name.len());
    for letter in name.chars().filter(|letter| !SEPARATORS.contains(letter)) {
        match LOOKALIKES.iter().find(|(alike, _)| *alike == letter) {
            Some((_, becomes)) => bones.push_str(becomes),
            None => bones.push(letter),
        }
    }
    Skeleton(bones)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> NameFault {
        text.parse::<Name>().unwrap_err()
    }

    #[test]
    fn names_are_lowered_and_nothing_else_is_repaired() {
        let name: Name = "Alice-B.2".parse().unwrap();
        assert_eq!((name.as_str(), name.letters()), ("alice-b.2", 7));
        assert!("abc".parse::<Name>().is_ok() && "a".repeat(36).parse::<Name>().is_ok());
        assert_eq!(fault("ab"), NameFault::TooShort);
        assert_eq!(fault(""), NameFault::TooShort);
        assert_eq!(fault(&"a".repeat(37)), NameFault::TooLong);
        for (text, stranger) in
            [("al ice", ' '), ("alicé", 'é'), ("аlice", 'а'), ("a/b/c", '/'), ("abc\n", '\n')]
        {
            assert_eq!(fault(text), NameFault::Character(stranger));
        }
        assert_eq!(fault(".alice"), NameFault::SeparatorOutside('.'));
        assert_eq!(fault("alice_"), NameFault::SeparatorOutside('_'));
        assert_eq!(fault("a--b"), NameFault::SeparatorsInRow('-', '-'));
        assert_eq!(fault("a._b"), NameFault::SeparatorsInRow('.', '_'));
    }

    #[test]
    fn what_speaks_for_the_network_is_reserved_in_every_form_that_reads_like_it() {
        for text in ["admin", "ADMIN", "a-d-m-i-n", "adrn1n", "r00t", "5upp0rt", "0ffic1al"] {
            assert!(matches!(fault(text), NameFault::Reserved(_)), "{text}");
        }
        assert!("administrators".parse::<Name>().is_ok(), "only the whole name is reserved");
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn names_that_read_alike_share_a_skeleton_and_others_do_not() {
        let skeleton = |text: &str| text.parse::<Name>().unwrap().skeleton();
        for alike in [
            &["google", "g00gle", "goog1e", "googie", "go-og_le", "9oogle"][..],
            &["modern", "modem", "rnodem", "mo.dem"],
            &["vvvv", "w.w", "wvv", "vwv", "vvw"],
            &["bill5", "8ills", "b1ll5"],
        ] {
            let first = skeleton(alike[0]);
            assert!(alike.iter().all(|text| skeleton(text) == first), "{alike:?}");
        }
        assert_ne!(skeleton("alice"), skeleton("alicia"));
        assert_ne!(skeleton("dog"), skeleton("god"));
        assert_eq!(skeleton("mil.k2").as_str(), "rnllkz");
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_itself_and_keeps_its_skeleton(text in "[a-z0-9]{1,9}([._-][a-z0-9]{2,9}){0,2}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name.clone()));
                // A skeleton of nothing but letters is its own skeleton, unless it can grow.
                let bones = name.skeleton();
                prop_assert_eq!(skeleton(bones.as_str()), bones);
            }
        }

        #[test]
        fn swapping_a_character_for_what_it_is_mistaken_for_changes_no_skeleton(
            text in "[a-z0-9]{3,12}", place in 0..LOOKALIKES.len(),
        ) {
            let (alike, becomes) = LOOKALIKES[place];
            prop_assert_eq!(skeleton(&text.replace(alike, becomes)), skeleton(&text));
        }

        #[test]
        fn whatever_is_given_is_a_name_or_refused(text in ".{0,40}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert!((NAME_CHARS_MIN..=NAME_CHARS_MAX).contains(&name.as_str().len()));
                prop_assert_eq!(name.as_str(), text.to_ascii_lowercase());
            }
        }
    }
}
