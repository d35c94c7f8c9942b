//! What the official packages sign is accepted.

use std::process::Command;

use http::HeaderMap;
use nudj_webhook::{Refusal, Verifier};

use crate::harness::{STANDARD_SECRET, START, environment, standard};

const SCRIPT: &str = r#"
const [folder, secret, seconds] = process.argv.slice(1);
const out = [];
for (const name of ["standardwebhooks", "svix"]) {
  const { Webhook } = require(`${folder}/${name}`);
  const webhook = new Webhook(secret);
  const bodies = ['{"type":"user.updated","data":{"user_id":"u-1"}}', '{}', '', '{"text":"h\u00e9 \u{1f600} \\u0000"}'];
  bodies.forEach((body, number) => {
    const id = `msg_${name}_${number}`;
    out.push({ name, id, body, signature: webhook.sign(id, new Date(seconds * 1000), body) });
  });
}
console.log(JSON.stringify(out));
"#;

#[test]
fn what_the_official_packages_sign_is_accepted() {
    let Some(folder) = environment("NUDJ_TEST_NODE_MODULES", "what_the_official_packages_sign_is_accepted") else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    let nested = folder.join("node_modules");
    let modules = if nested.is_dir() { nested } else { folder.to_owned() };
    let output = Command::new("node")
        .args(["-e", SCRIPT, "--"])
        .arg(&modules)
        .args([STANDARD_SECRET, &START.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let signed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(signed.len(), 8);
    let other = Verifier::new(nudj_webhook::Scheme::Standard, ["whsec_c2VjcmV0".into()]).unwrap();
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(START.unsigned_abs());
    for request in signed {
        let text = |field: &str| request[field].as_str().unwrap();
        for family in ["webhook", "svix"] {
            let mut head = HeaderMap::new();
            let mut insert = |name: &str, value: &str| {
                head.insert(http::HeaderName::try_from(format!("{family}-{name}")).unwrap(), value.parse().unwrap());
            };
            insert("id", text("id"));
            insert("timestamp", &START.to_string());
            insert("signature", text("signature"));
            let body = text("body").as_bytes();
            let verified = standard().verify(&head, body, now).unwrap_or_else(|refusal| panic!("{request}: {refusal}"));
            assert_eq!(verified.delivery_id.as_deref(), Some(text("id")));
            assert_eq!(other.verify(&head, body, now), Err(Refusal::SignatureMismatch));
            assert_eq!(standard().verify(&head, b"other", now), Err(Refusal::SignatureMismatch));
        }
    }
}
