//! The verifier against the specification's own vectors, edges and random changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_760_000_000;
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap()))
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn nudj() -> Verifier {
    Verifier::new(Scheme::Nudj, ["first".into()]).unwrap()
}

fn standard() -> Verifier {
    Verifier::new(Scheme::Standard, [STANDARD_SECRET.into()]).unwrap()
}

fn signed(verifier: &Verifier, id: &str, timestamp: i64, body: &[u8]) -> HeaderMap {
    let signature = verifier.sign(id, timestamp, body);
    match verifier.scheme() {
        Scheme::Standard => headers(&[
            ("webhook-id", id),
            ("webhook-timestamp", &timestamp.to_string()),
            ("webhook-signature", &signature),
        ]),
        _ => headers(&[("x-nudj-signature", &signature), ("x-nudj-delivery-id", id)]),
    }
}

#[test]
fn vector_of_the_standard_webhooks_specification_is_accepted() {
    let map = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]);
    let body = br#"{"test": 2432232314}"#;
    let verified = standard().verify(&map, body, at(1_614_265_330)).unwrap();
    assert_eq!(verified.delivery_id.as_deref(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
    assert_eq!(verified.timestamp, Some(1_614_265_330));
    assert_eq!(standard().verify(&map, body, at(1_614_265_330 + 301)), Err(Refusal::TooOld));
}

#[test]
fn known_hmac_vector_is_accepted_in_the_nudj_scheme() {
    // RFC 4231, test case 2.
    let verifier = Verifier::new(Scheme::Nudj, ["Jefe".into()]).unwrap();
    let map =
        headers(&[("x-nudj-signature", "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")]);
    assert!(verifier.verify(&map, b"what do ya want for nothing?", at(NOW)).is_ok());
}

#[test]
fn body_that_is_not_text_is_verified_as_it_is() {
    let body = [0, 159, 146, 150, 255, 10];
    for verifier in [nudj(), standard()] {
        assert!(verifier.verify(&signed(&verifier, "d1", NOW, &body), &body, at(NOW)).is_ok());
    }
}

#[test]
fn absurd_timestamps_are_refused_though_rightly_signed() {
    let verifier = standard();
    for (timestamp, refusal) in [
        (i64::MIN, Refusal::TooOld),
        (i64::MIN + 1, Refusal::TooOld),
        (-1, Refusal::TooOld),
        (0, Refusal::TooOld),
        (NOW - 301, Refusal::TooOld),
        (NOW + 301, Refusal::TooNew),
        (i64::MAX, Refusal::TooNew),
    ] {
        let map = signed(&verifier, "d1", timestamp, b"{}");
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(refusal), "{timestamp}");
    }
    for timestamp in [NOW - 300, NOW + 300] {
        assert!(verifier.verify(&signed(&verifier, "d1", timestamp, b"{}"), b"{}", at(NOW)).is_ok());
    }
}

#[test]
fn any_one_of_several_signatures_will_do_and_unknown_versions_are_passed_over() {
    let verifier = standard();
    let good = verifier.sign("d1", NOW, b"{}");
    let other = Verifier::new(Scheme::Standard, ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into()]).unwrap();
    let bad = other.sign("d1", NOW, b"{}");
    let cases = [
        (good.clone(), true),
        (format!("{bad} {good}"), true),
        (format!("{good} {bad}"), true),
        (format!("v1a,AAAA {good} v2,x"), true),
        (bad.clone(), false),
        (good.replace("v1,", "v2,"), false),
        (good.replace("v1,", "v1a,"), false),
        (good.replace("v1,", ""), false),
        ("v1,".to_owned(), false),
        ("v1".to_owned(), false),
        (" ".to_owned(), false),
        (good[..good.len() - 1].to_owned(), false),
        (format!("{good}="), false),
        (format!("{good}{good}"), false),
        (format!("{}{good}", "v1,x ".repeat(16)), false),
    ];
    for (list, accepted) in cases {
        let mut map = signed(&verifier, "d1", NOW, b"{}");
        map.insert("webhook-signature", list.parse().unwrap());
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)).is_ok(), accepted, "{list}");
    }
}

#[test]
fn signature_has_one_spelling() {
    let verifier = nudj();
    let good = verifier.sign("", 0, b"{}");
    let hex = good.strip_prefix("sha256=").unwrap();
    for text in [
        good.to_uppercase(),
        format!("sha256={}", hex.to_uppercase()),
        format!("SHA256={hex}"),
        format!("sha1={hex}"),
        hex.to_owned(),
        format!("sha256={}", &hex[..62]),
        format!("sha256={hex}00"),
        format!("sha256= {hex}"),
        "sha256=".to_owned(),
        format!("{good},{good}"),
    ] {
        let map = headers(&[("x-nudj-signature", &text)]);
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(Refusal::MalformedSignature), "{text}");
    }
    // The last character of this base64 carries two bits that must be zero.
    let verifier = standard();
    let good = verifier.sign("d1", NOW, b"{}");
    let last = good.len() - 2;
    for letter in ('A'..='Z').chain('a'..='z').chain('0'..='9') {
        let mut text = good.clone();
        text.replace_range(last..=last, &letter.to_string());
        let mut map = signed(&verifier, "d1", NOW, b"{}");
        map.insert("webhook-signature", text.parse().unwrap());
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)).is_ok(), text == good, "{text}");
    }
}

#[test]
fn missing_repeated_and_mixed_headers_are_refused() {
    let verifier = standard();
    let whole = signed(&verifier, "d1", NOW, b"{}");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let name = HeaderName::from_static(name);
        let mut map = whole.clone();
        let value = map.remove(&name).unwrap();
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(Refusal::MissingHeader(name.clone())));
        map.insert(HeaderName::try_from(name.as_str().replace("webhook", "svix")).unwrap(), value.clone());
        assert!(verifier.verify(&map, b"{}", at(NOW)).is_err(), "half of each family");
        let mut map = whole.clone();
        map.append(&name, value);
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(Refusal::RepeatedHeader(name)));
    }
    // The standard's own names count where both are there.
    let mut map = whole.clone();
    map.insert("svix-id", HeaderValue::from_static("other"));
    assert_eq!(verifier.verify(&map, b"{}", at(NOW)).unwrap().delivery_id.as_deref(), Some("d1"));
    assert!(matches!(nudj().verify(&HeaderMap::new(), b"{}", at(NOW)), Err(Refusal::MissingHeader(_))));
}

#[test]
fn id_with_a_dot_cannot_stand_for_another() {
    let verifier = standard();
    let map = signed(&verifier, "a.1", NOW, b"{}");
    assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(Refusal::MalformedDeliveryId));
    for id in [&"x".repeat(257), "a b"] {
        let map = signed(&verifier, id, NOW, b"{}");
        assert_eq!(verifier.verify(&map, b"{}", at(NOW)), Err(Refusal::MalformedDeliveryId), "{id}");
    }
}

#[test]
fn older_secret_is_accepted_for_the_overlap_and_not_after() {
    let old = nudj();
    let verifier = nudj();
    verifier.rotate(&"second".into(), Duration::from_secs(60), at(NOW)).unwrap();
    let by_old = signed(&old, "d1", NOW, b"{}");
    let by_new = signed(&verifier, "d1", NOW, b"{}");
    assert_ne!(by_old, by_new);
    for (now, old_counts) in [(NOW, true), (NOW + 60, true), (NOW + 61, false)] {
        assert_eq!(verifier.verify(&by_old, b"{}", at(now)).is_ok(), old_counts, "{now}");
        assert!(verifier.verify(&by_new, b"{}", at(now)).is_ok());
    }
    // A second rotation must not lengthen the first one's overlap.
    verifier.rotate(&"third".into(), Duration::from_secs(600), at(NOW + 30)).unwrap();
    assert!(verifier.verify(&by_old, b"{}", at(NOW + 61)).is_err());
    assert!(verifier.verify(&by_new, b"{}", at(NOW + 61)).is_ok());
}

#[test]
fn rotating_without_end_is_refused_and_changes_nothing() {
    let verifier = nudj();
    for number in 0..7 {
        verifier.rotate(&format!("s{number}").into(), Duration::from_secs(60), at(NOW)).unwrap();
    }
    let newest = signed(&verifier, "d1", NOW, b"{}");
    assert!(verifier.rotate(&"too many".into(), Duration::from_secs(60), at(NOW)).is_err());
    assert_eq!(signed(&verifier, "d1", NOW, b"{}"), newest);
    verifier.rotate(&"later".into(), Duration::from_secs(60), at(NOW + 61)).unwrap();
}

#[test]
fn static_header_must_be_equal_whole_and_once() {
    let verifier = Verifier::new(Scheme::StaticHeader, ["Bearer let me in".into(), "Bearer older".into()]).unwrap();
    let cases: &[(&[&str], bool)] = &[
        (&["Bearer let me in"], true),
        (&["Bearer older"], true),
        (&["Bearer let me i"], false),
        (&["Bearer let me in!"], false),
        (&["bearer let me in"], false),
        (&[""], false),
        (&[], false),
        (&["Bearer let me in", "Bearer let me in"], false),
    ];
    for (values, accepted) in cases {
        let pairs: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        assert_eq!(verifier.verify(&headers(&pairs), b"anything", at(NOW)).is_ok(), *accepted, "{values:?}");
    }
    let verifier = verifier.with_static_header(HeaderName::from_static("x-key"));
    assert!(verifier.verify(&headers(&[("x-key", "Bearer older")]), b"", at(NOW)).is_ok());
    assert!(verifier.verify(&headers(&[("authorization", "Bearer older")]), b"", at(NOW)).is_err());
}

#[test]
fn unusable_secrets_are_refused_without_being_quoted() {
    for (scheme, secret) in [
        (Scheme::Nudj, ""),
        (Scheme::Standard, "whsec_"),
        (Scheme::Standard, "whsec_can!ary"),
        (Scheme::StaticHeader, ""),
    ] {
        let error = Verifier::new(scheme, [secret.into()]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("can!ary"));
    }
    assert!(Verifier::new(Scheme::Nudj, []).is_err());
    assert!(Verifier::new(Scheme::Standard, ["whsec_AAAAAA".into()]).is_ok(), "padding may be missing");
}

#[test]
fn nothing_prints_the_secret() {
    let verifier = Verifier::new(Scheme::StaticHeader, ["Bearer canary".into()]).unwrap();
    let claim = verifier.check_head(&headers(&[("authorization", "Bearer canary")]), at(NOW)).unwrap();
    assert!(!format!("{verifier:?} {claim:?}").contains("canary"));
}

/// A seeded draw of changes: each takes one bit or byte of what is signed, or of the signature itself.
#[test]
fn hundred_thousand_changed_requests_are_all_refused() {
    let mut rng = fastrand::Rng::with_seed(0x006e_7564_6a00);
    let body: Vec<u8> = (0..200).map(|_| rng.u8(..)).collect();
    for verifier in [nudj(), standard()] {
        let whole = signed(&verifier, "msg_1", NOW, &body);
        let names: Vec<HeaderName> = match verifier.scheme() {
            Scheme::Standard => whole.keys().cloned().collect(),
            _ => vec![HeaderName::from_static("x-nudj-signature")],
        };
        let mut tried = 0;
        while tried < 50_000 {
            let mut map = whole.clone();
            let mut changed = body.clone();
            if rng.u8(..4) == 0 {
                mutate(&mut changed, &mut rng);
            } else {
                let name = &names[rng.usize(..names.len())];
                let mut value = map[name].as_bytes().to_vec();
                mutate(&mut value, &mut rng);
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                map.insert(name, value);
            }
            if map == whole && changed == body {
                continue;
            }
            tried += 1;
            let verdict = verifier.verify(&map, &changed, at(NOW));
            assert!(verdict.is_err(), "{:?}: {map:?} {changed:?}", verifier.scheme());
        }
        assert!(verifier.verify(&whole, &body, at(NOW)).is_ok());
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.insert(at, rng.u8(..)),
            3 => bytes.truncate(at),
            _ if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => bytes.push(rng.u8(..)),
        }
    }
}

proptest! {
    #[test]
    fn any_timestamp_at_any_time_gets_a_verdict_and_no_panic(timestamp: i64, now: u32, body: Vec<u8>) {
        let verifier = standard();
        let map = signed(&verifier, "d1", timestamp, &body);
        let near = i64::from(now).abs_diff(timestamp) <= 300;
        prop_assert_eq!(verifier.verify(&map, &body, at(i64::from(now))).is_ok(), near);
    }

    #[test]
    fn any_header_text_gets_a_verdict_and_no_panic(id in "[ -~]{0,40}", timestamp in "[ -~]{0,24}", signature in "[ -~]{0,80}") {
        let pairs = [("webhook-id", &*id), ("webhook-timestamp", &*timestamp), ("webhook-signature", &*signature), ("x-nudj-signature", &*signature)];
        for verifier in [nudj(), standard()] {
            let verdict = verifier.verify(&headers(&pairs), b"{}", at(NOW));
            prop_assert!(verdict.is_err());
        }
    }
}
