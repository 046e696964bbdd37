//! How figures are written for a person: short, with a unit, and never more exact than they are.

/// `12,345`.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// `3.4` below ten, `340` from there on.
pub(super) fn rate(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

/// `1.5 GiB`; `unknown` if it is not known.
pub(super) fn bytes(number: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Some(number) = number else { return "unknown".to_owned() };
    // What is lost of large numbers is not shown.
    let (mut value, mut units) = (number as f64, UNITS.iter().peekable());
    loop {
        let unit = units.next().copied().unwrap_or_default();
        if value < 1024.0 || units.peek().is_none() {
            let places = usize::from(value < 100.0 && unit != "B");
            return format!("{value:.places$} {unit}");
        }
        value /= 1024.0;
    }
}

/// `4.1 ms`; `none` for 0, which means that there were none.
pub(super) fn micros(number: u64) -> String {
    let (value, unit) = match number {
        0 => return "none".to_owned(),
        1..1_000 => return format!("{number} us"),
        1_000..1_000_000 => (number as f64 / 1e3, "ms"),
        _ => (number as f64 / 1e6, "s"),
    };
    let places = usize::from(value < 10.0);
    format!("{value:.places$} {unit}")
}

/// `3 d 4 h`: the two largest units.
pub(super) fn span(secs: u64) -> String {
    const DAY: u64 = 86_400;
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..DAY => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {} h", secs / DAY, secs % DAY / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 9.94, 1234.5].map(rate), ["0.0", "9.9", "1234"]);
        let written = [0, 1_023, 1_536, 20 << 30, u64::MAX].map(|number| bytes(Some(number)));
        assert_eq!(written, ["0 B", "1023 B", "1.5 KiB", "20.0 GiB", "16777216 TiB"]);
        assert_eq!(bytes(None), "unknown");
        let written = [0, 512, 1_024, 131_072, 16_777_216].map(micros);
        assert_eq!(written, ["none", "512 us", "1.0 ms", "131 ms", "17 s"]);
        let written = [5, 61, 3_725, 100_000].map(span);
        assert_eq!(written, ["5 s", "1 min 1 s", "1 h 2 min", "1 d 3 h"]);
    }
}
