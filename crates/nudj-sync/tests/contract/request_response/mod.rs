//! One user, here and at Nudj.

#[cfg(feature = "sqlite")]
mod crashes;
mod failures;

use std::path::PathBuf;

use async_trait::async_trait;
use nudj_client::model::NewUser;
use nudj_sync::{BoxError, request_response::Local};

/// Your system, as files in a folder: it outlives a process.
#[derive(Clone, Debug)]
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    pub(crate) fn nudj_id(&self, id: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(format!("{id}.nudj"))).ok()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.join(format!("{id}.user")).exists()
    }
}

#[async_trait]
impl Local for Files {
    async fn create(&self, id: &str, user: &NewUser) -> Result<(), BoxError> {
        Ok(std::fs::write(self.0.join(format!("{id}.user")), user.email.as_deref().unwrap_or_default())?)
    }

    async fn store_nudj_id(&self, id: &str, nudj_id: &str) -> Result<(), BoxError> {
        assert!(self.has(id), "the user is there before its id is stored");
        Ok(std::fs::write(self.0.join(format!("{id}.nudj")), nudj_id)?)
    }

    async fn compensate(&self, id: &str, _: &str) -> Result<(), BoxError> {
        let _ = std::fs::remove_file(self.0.join(format!("{id}.user")));
        Ok(())
    }
}

pub(crate) fn user(id: &str) -> NewUser {
    NewUser { email: Some(format!("{id}@example.com")), ..NewUser::default() }
}
