use super::*;

fn file(text: &str) -> Result<Config, ConfigError> {
    let path = Path::new("node.toml");
    let flags = RunFlags { config: Some(path.to_owned()), ..RunFlags::default() };
    Config::check(&flags, ConfigFile::parse(text, path)?)
}

fn defaults() -> Config {
    file("").unwrap()
}

/// What a file's text makes of the defaults, and what it should.
fn assert_sets(text: &str, change: impl FnOnce(&mut Config)) {
    let mut expected = defaults();
    change(&mut expected);
    assert_ne!(expected, defaults(), "{text} would have no effect");
    assert_eq!(file(text).unwrap(), expected, "{text}");
}

fn assert_refused(text: &str, named: &[&str]) {
    let sentence = file(text).unwrap_err().to_string();
    assert!(!sentence.contains('\n'), "{sentence}");
    for part in named {
        assert!(sentence.contains(part), "«{sentence}» does not name {part}");
    }
}

#[test]
fn nothing_configured_means_the_documented_defaults() {
    let config = defaults();
    assert_eq!(config.network.as_str(), "main");
    assert_eq!(config.data_dir, Path::new("/var/lib/dht-bootstrap"));
    assert_eq!(config.listen, ["[::]:4400".parse().unwrap()]);
    assert_eq!(config.admin, "127.0.0.1:4401".parse().unwrap());
    assert_eq!((config.mode, config.solo), (RunMode::Server, false));
    assert_eq!(config.log, tracing::Level::INFO);
    assert!(config.bootstrap.is_empty());
    assert!(config.verify_threads >= 1);
    assert_eq!(config.repair_bytes_per_sec, 8 << 20);
    let expected =
        StoreSettings { max_bytes: 20 << 30, cache_bytes: 192 << 20, min_free_bytes: 512 << 20 };
    assert_eq!(config.store, expected);
}

#[test]
fn each_field_of_the_file_has_its_effect() {
    assert_sets("network = \"other\"", |c| c.network = "other".parse().unwrap());
    assert_sets("dns_server = \"[::1]:53\"", |c| {
        c.dns_server = Some("[::1]:53".parse().unwrap());
    });
    assert_sets("data_dir = \"/srv/x\"", |c| c.data_dir = "/srv/x".into());
    assert_sets("listen = [\"192.0.2.1:1\", \"[::1]:0\"]", |c| {
        c.listen = vec!["192.0.2.1:1".parse().unwrap(), "[::1]:0".parse().unwrap()];
    });
    let id = "ab".repeat(32);
    assert_sets(&format!("bootstrap = [\"seed.example:4400\", \"{id}@192.0.2.1:1\"]"), |c| {
        c.bootstrap = vec![
            "seed.example:4400".parse().unwrap(),
            format!("{id}@192.0.2.1:1").parse().unwrap(),
        ];
    });
    assert_sets("mode = \"client\"", |c| c.mode = RunMode::Client);
    assert_sets("mode = \"auto\"", |c| c.mode = RunMode::Auto);
    assert_sets("admin = \"[::1]:9\"", |c| c.admin = "[::1]:9".parse().unwrap());
    assert_sets("admin = \"192.0.2.1:9\"\nadmin_public = true", |c| {
        c.admin = "192.0.2.1:9".parse().unwrap();
    });
    assert_sets("solo = true", |c| c.solo = true);
    assert_sets("log = \"trace\"", |c| c.log = tracing::Level::TRACE);
    assert_sets("verify_threads = 63", |c| c.verify_threads = 63);
    assert_sets("repair_bytes_per_sec = 65_536", |c| c.repair_bytes_per_sec = 65_536);
    assert_sets("[store]\nmax_bytes = 50_000_000", |c| c.store.max_bytes = 50_000_000);
    assert_sets("[store]\ncache_bytes = 50_000_000", |c| c.store.cache_bytes = 50_000_000);
    assert_sets("[store]\nmin_free_bytes = 0", |c| c.store.min_free_bytes = 0);
}

#[test]
fn each_flag_stands_in_place_of_its_field() {
    let text = "network = \"of-file\"\ndata_dir = \"/file\"\nlisten = [\"127.0.0.1:1\"]\n\
                dns_server = \"127.0.0.1:8\"\n\
                bootstrap = [\"file.example:1\"]\nmode = \"client\"\nadmin = \"127.0.0.1:2\"\n\
                repair_bytes_per_sec = 1_000_000";
    let fields = ConfigFile::parse(text, Path::new("node.toml")).unwrap();
    let flags = RunFlags {
        config: None,
        data_dir: Some("/flag".into()),
        listen: vec!["127.0.0.1:3".into(), "127.0.0.1:4".into()],
        bootstrap: vec!["flag.example:5".into()],
        network: Some("of-flag".into()),
        network_file: None,
        dns_server: Some("127.0.0.1:7".into()),
        mode: Some("auto".into()),
        admin: Some("127.0.0.1:6".into()),
        solo: true,
        repair_bytes_per_sec: Some(2_000_000),
    };
    let config = Config::check(&flags, fields).unwrap();
    let expected = Config {
        network: "of-flag".parse().unwrap(),
        dns_server: Some("127.0.0.1:7".parse().unwrap()),
        data_dir: "/flag".into(),
        listen: vec!["127.0.0.1:3".parse().unwrap(), "127.0.0.1:4".parse().unwrap()],
        bootstrap: vec!["flag.example:5".parse().unwrap()],
        mode: RunMode::Auto,
        admin: "127.0.0.1:6".parse().unwrap(),
        solo: true,
        repair_bytes_per_sec: 2_000_000,
        ..defaults()
    };
    assert_eq!(config, expected);
}

#[test]
fn a_network_file_gives_the_name_and_a_flag_stands_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let network = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("name = \"{name}\"\nseeds = [\"h:1\"]")).unwrap();
        path
    };
    let (field, flag) = (network("by-field"), network("by-flag"));
    let config = file(&format!("network_file = {field:?}")).unwrap();
    assert_eq!(config.network.as_str(), "by-field");
    assert_eq!(config.network_file.unwrap().1.seeds, ["h:1".parse().unwrap()]);
    let fields = ConfigFile { network_file: Some(field.clone()), ..ConfigFile::default() };
    let flags = RunFlags { network_file: Some(flag), ..RunFlags::default() };
    assert_eq!(Config::check(&flags, fields).unwrap().network.as_str(), "by-flag");
    let beside = ConfigFile { network_file: Some("by-field".into()), ..ConfigFile::default() };
    let flags = RunFlags { config: Some(folder.path().join("node.toml")), ..RunFlags::default() };
    assert_eq!(Config::check(&flags, beside).unwrap().network_file.unwrap().0, field);
    let both = format!("network_file = {field:?}\nnetwork = \"by-field\"");
    assert!(file(&both).is_ok());
    let path = field.display().to_string();
    let disagreeing = format!("network_file = {field:?}\nnetwork = \"main\"");
    assert_refused(&disagreeing, &["network in node.toml", "«main» is not «by-field»", &path]);
}

#[test]
fn unknown_fields_are_refused_by_file_and_line() {
    assert_refused("network = \"a\"\nlisten_on = []", &["node.toml", "line 2", "listen_on"]);
    assert_refused("[store]\nmax_byte = 1", &["node.toml", "line 2", "max_byte"]);
    assert_refused("[stores]\n", &["node.toml", "stores"]);
    assert_refused("solo = \"yes\"", &["node.toml", "line 1"]);
    assert_refused("solo = ", &["node.toml", "line 1"]);
}

#[test]
fn values_that_cannot_be_are_refused_by_file_and_field() {
    assert_refused("network = \"No\"", &["network in node.toml", "No"]);
    assert_refused("dns_server = \"ns.example\"", &["dns_server in node.toml", "ns.example"]);
    assert_refused("network_file = \"/missing.toml\"", &["network file /missing.toml"]);
    assert_refused("listen = []", &["listen in node.toml", "empty"]);
    assert_refused("listen = [\"localhost\"]", &["listen in node.toml", "localhost"]);
    assert_refused("listen = [\"[::]:1\", \"[::]:1\"]", &["listen in node.toml", "twice"]);
    assert_refused("bootstrap = [\"nobody\"]", &["bootstrap in node.toml", "nobody"]);
    assert_refused("mode = \"both\"", &["mode in node.toml", "both"]);
    assert_refused("admin = \"0.0.0.0:1\"", &["admin in node.toml", "loopback"]);
    assert_refused("log = \"loud\"", &["log in node.toml", "loud"]);
    assert_refused("verify_threads = 0", &["verify_threads in node.toml"]);
    assert_refused("[store]\nmax_bytes = 1", &["store.max_bytes in node.toml"]);
    assert_refused("[store]\ncache_bytes = 1", &["store.cache_bytes in node.toml"]);
    assert_refused("repair_bytes_per_sec = 9", &["repair_bytes_per_sec in node.toml", "65536"]);
    let flags = RunFlags { repair_bytes_per_sec: Some(9), ..RunFlags::default() };
    let error = Config::check(&flags, ConfigFile::default()).unwrap_err();
    assert!(error.to_string().starts_with("--repair-bytes-per-sec: "), "{error}");
    let flags = RunFlags { mode: Some("both".into()), ..RunFlags::default() };
    let error = Config::check(&flags, ConfigFile::default()).unwrap_err();
    assert!(error.to_string().starts_with("--mode: "), "{error}");
    assert_eq!(error.number(), ErrorNumber::BadConfig);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let flags = RunFlags { config: Some("/nowhere/node.toml".into()), ..RunFlags::default() };
    let error = Config::load(&flags).unwrap_err();
    assert!(error.to_string().contains("/nowhere/node.toml"), "{error}");
}
