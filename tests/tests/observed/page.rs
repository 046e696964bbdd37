//! `/`: the page for people. That a browser shows it is tried by `scripts/test-page.sh`.

use dht_tests::{Network, admin};

#[test]
fn the_page_may_run_its_own_script_and_load_nothing_from_elsewhere() {
    let net = Network::start(1);
    let nonce_of = || {
        let page = admin::get(net[0].addr(), "/");
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let policy = page.header("content-security-policy").unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        for part in ["<script nonce=", "<style nonce="] {
            assert_eq!(page.body.matches(part).count(), 1);
            assert!(page.body.contains(&format!("{part}\"{nonce}\">")), "{part} has {nonce}");
        }
        assert_eq!(page.body.matches("<script").count(), 1);
        nonce.to_owned()
    };
    assert_ne!(nonce_of(), nonce_of(), "each answer has a nonce of its own");
    assert_eq!(admin::get(net[0].addr(), "/nothing").status, 404);
}
