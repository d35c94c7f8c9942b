//! TLS: the provider passed explicitly, certificates checked, ALPN choosing the version.

use std::io::Write;

use nudj_client::Client;
use nudj_mock::MockNudj;

use super::quick;
