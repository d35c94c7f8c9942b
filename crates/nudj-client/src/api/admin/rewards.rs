use http::Method;

use super::super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// Rewards, as administrators see them.
    Rewards
}

impl Rewards<'_> {
    /// All rewards.
    pub fn list(self) -> List<Reward> {
        List::new(self.client, route("listRewards", "/api/v2/admin/rewards"))
    }

    /// Creates a reward.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewReward) -> Result<Reward, Error> {
        let route = route("createReward", "/api/v2/admin/rewards");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a reward; a POST, as documented.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &NewReward) -> Result<Reward, Error> {
        let route = route("updateReward", "/api/v2/admin/rewards/{id}");
        self.client.typed(Method::POST, route, &[id]).body_json(body).json().await
    }

    /// Gives rewards, points and experience to many users; look at `failed_user_ids`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn distribute(self, body: &ManualDistribution) -> Result<Distributed, Error> {
        let route = route("distributeRewards", "/api/v2/admin/rewards/manual-distribution");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Draws a giveaway by hand.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn process_giveaway(self, reward_id: &str, winners: &[Winner]) -> Result<Acknowledgement, Error> {
        let route = route("processGiveaway", "/api/v2/admin/rewards/{rewardId}/process-giveaway");
        let body = serde_json::json!({ "winners": winners });
        self.client.typed(Method::POST, route, &[reward_id]).body_json(&body).json().await
    }
}
