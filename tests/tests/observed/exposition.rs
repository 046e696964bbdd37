//! Reading what `/metrics` answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dht_tests::admin;

/// What a node exposes at a moment.
pub(crate) struct Exposition {
    /// The type of each family.
    pub(crate) families: BTreeMap<String, String>,
    /// The value of each series: its name with its labels.
    pub(crate) series: BTreeMap<String, f64>,
}

/// Endings that make a series of a family.
const ENDINGS: [&str; 5] = ["_total", "_bucket", "_sum", "_count", "_info"];

impl Exposition {
    /// Scrapes a node.
    pub(crate) fn of(node: SocketAddr) -> Self {
        let answer = admin::get(node, "/metrics");
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        Self::read(&answer.body)
    }

    pub(crate) fn read(text: &str) -> Self {
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.pop(), Some("# EOF"), "the text is whole");
        let mut exposition = Exposition { families: BTreeMap::new(), series: BTreeMap::new() };
        for line in lines {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                let before = exposition.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} comes twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let before = exposition.series.insert(series.to_owned(), value.parse().unwrap());
                assert_eq!(before, None, "{series} comes twice");
            }
        }
        exposition
    }

    /// The value of a series.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// Whether a name that an expression uses is one of this node's.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let family = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        match (self.families.get(name), family.and_then(|family| self.families.get(family))) {
            // A counter's own name is no series: only the one with its ending is.
            (Some(kind), _) => kind == "gauge",
            (None, Some(kind)) => match kind.as_str() {
                "counter" => name.ends_with("_total"),
                "info" => name.ends_with("_info"),
                "histogram" => !name.ends_with("_total") && !name.ends_with("_info"),
                _ => false,
            },
            (None, None) => false,
        }
    }
}
