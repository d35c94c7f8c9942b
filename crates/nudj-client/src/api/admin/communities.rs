use http::Method;

use super::super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// Communities, as administrators see them.
    Communities
}

impl Communities<'_> {
    /// All communities.
    pub fn list(self) -> List<Community> {
        List::new(self.client, route("listCommunities", "/api/v2/admin/communities"))
    }

    /// One community.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, community_id: &str) -> Result<Community, Error> {
        let route = route("getCommunity", "/api/v2/admin/communities/{communityId}");
        self.client.typed(Method::GET, route, &[community_id]).json().await
    }
}

resource! {
    /// Webhooks: where Nudj sends which events.
    Webhooks
}

impl Webhooks<'_> {
    /// All configurations of the organisation.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn configs(self) -> Result<Vec<WebhookConfig>, Error> {
        let route = route("getWebhookConfigs", "/api/v2/admin/webhooks/configs");
        let page: Page<WebhookConfig> = self.client.typed(Method::GET, route, &[]).json().await?;
        Ok(page.edges)
    }

    /// Replaces all configurations of the organisation by these: there is no call that adds one. Sent as the bare array of most pages.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put_configs(self, configs: &[WebhookConfig]) -> Result<(), Error> {
        let route = route("updateWebhookConfigs", "/api/v2/admin/webhooks/configs");
        self.client.typed(Method::PUT, route, &[]).body_json(configs).send().await.map(drop)
    }

    /// What became of deliveries. Filters differ between pages: `event`, `status`, `since` or `eventSubCategory`, `success`.
    pub fn logs(self) -> List<WebhookLog> {
        List::new(self.client, route("getWebhookLogs", "/api/v2/admin/webhooks/logs"))
    }
}
