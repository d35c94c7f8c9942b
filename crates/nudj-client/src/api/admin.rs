use http::Method;

use super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// What administrators may do: `/api/v2/admin`.
    Admin
}

impl<'c> Admin<'c> {
    /// Users, as administrators see them.
    #[must_use]
    pub fn users(self) -> Users<'c> {
        Users { client: self.client }
    }

    /// Challenges, as administrators see them.
    #[must_use]
    pub fn challenges(self) -> Challenges<'c> {
        Challenges { client: self.client }
    }

    /// Groups of challenges, as administrators see them.
    #[must_use]
    pub fn challenge_groups(self) -> ChallengeGroups<'c> {
        ChallengeGroups { client: self.client }
    }

    /// Actions, as administrators see them.
    #[must_use]
    pub fn actions(self) -> Actions<'c> {
        Actions { client: self.client }
    }

    /// What members did, as administrators see it.
    #[must_use]
    pub fn action_participations(self) -> ActionParticipations<'c> {
        ActionParticipations { client: self.client }
    }

    /// Rewards, as administrators see them.
    #[must_use]
    pub fn rewards(self) -> Rewards<'c> {
        Rewards { client: self.client }
    }

    /// Achievements, as administrators see them.
    #[must_use]
    pub fn achievements(self) -> Achievements<'c> {
        Achievements { client: self.client }
    }

    /// Communities, as administrators see them.
    #[must_use]
    pub fn communities(self) -> Communities<'c> {
        Communities { client: self.client }
    }

    /// Leaderboards, as administrators see them.
    #[must_use]
    pub fn leaderboards(self) -> Leaderboards<'c> {
        Leaderboards { client: self.client }
    }

    /// Webhooks: where Nudj sends which events.
    #[must_use]
    pub fn webhooks(self) -> Webhooks<'c> {
        Webhooks { client: self.client }
    }

    /// Custom events.
    #[must_use]
    pub fn events(self) -> Events<'c> {
        Events { client: self.client }
    }
}

resource! {
    /// Users, as administrators see them.
    Users
}

impl Users<'_> {
    /// All users.
    pub fn list(self) -> List<User> {
        List::new(self.client, route("listUsers", "/api/v2/admin/users"))
    }

    /// One user by Nudj's id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<User, Error> {
        let route = route("getUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewUser) -> Result<User, Error> {
        let route = route("createUser", "/api/v2/admin/users");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a user.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &UserUpdate) -> Result<User, Error> {
        let route = route("updateUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::PATCH, route, &[id]).body_json(body).json().await
    }

    /// Erases a user's personal data: the record stays for statistics.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(self, id: &str) -> Result<DeletedUser, Error> {
        let route = route("deleteUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::DELETE, route, &[id]).json().await
    }

    /// Creates many users in one call; each may fail by itself.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_many(self, users: &[NewUser]) -> Result<BulkCreated, Error> {
        let route = route("bulkCreateUsers", "/api/v2/admin/users/bulk");
        self.client.typed(Method::POST, route, &[]).body_json(&serde_json::json!({ "users": users })).json().await
    }

    /// Gives or takes points; `id` is Nudj's or your own.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn points_transaction(self, id: &str, body: &NewPointsTransaction) -> Result<PointsTransacted, Error> {
        let route = route("createPointsTransaction", "/api/v2/admin/users/{id}/points-transaction");
        self.client.typed(Method::POST, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Challenges, as administrators see them.
    Challenges
}

impl Challenges<'_> {
    /// All challenges.
    pub fn list(self) -> List<Challenge> {
        List::new(self.client, route("listChallenges", "/api/v2/admin/challenges"))
    }

    /// One challenge.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, challenge_id: &str) -> Result<Challenge, Error> {
        let route = route("getChallenge", "/api/v2/admin/challenges/{challengeId}");
        self.client.typed(Method::GET, route, &[challenge_id]).json().await
    }

    /// Creates a challenge.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewChallenge) -> Result<Challenge, Error> {
        let route = route("createChallenge", "/api/v2/admin/challenges");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a challenge; a POST, as documented.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &ChallengeUpdate) -> Result<Challenge, Error> {
        let route = route("updateChallenge", "/api/v2/admin/challenges/{id}");
        self.client.typed(Method::POST, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Groups of challenges, as administrators see them.
    ChallengeGroups
}

impl ChallengeGroups<'_> {
    /// All groups.
    pub fn list(self) -> List<ChallengeGroup> {
        List::new(self.client, route("listChallengeGroups", "/api/v2/admin/challenge-groups"))
    }

    /// Creates a group.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewChallengeGroup) -> Result<ChallengeGroup, Error> {
        let route = route("createChallengeGroup", "/api/v2/admin/challenge-groups");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a group.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &ChallengeGroupUpdate) -> Result<ChallengeGroup, Error> {
        let route = route("updateChallengeGroup", "/api/v2/admin/challenge-groups/{id}");
        self.client.typed(Method::PATCH, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Actions, as administrators see them.
    Actions
}

impl Actions<'_> {
    /// All actions.
    pub fn list(self) -> List<Action> {
        List::new(self.client, route("listActions", "/api/v2/admin/actions"))
    }

    /// One action.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, action_id: &str) -> Result<Action, Error> {
        let route = route("getAction", "/api/v2/admin/actions/{actionId}");
        self.client.typed(Method::GET, route, &[action_id]).json().await
    }

    /// Creates an action.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewAction) -> Result<Action, Error> {
        let route = route("createAction", "/api/v2/admin/actions");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Puts the actions of a challenge or achievement in this order; answers with all of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reorder(self, allocation_id: &str, action_ids: &[&str]) -> Result<Vec<Action>, Error> {
        let body = serde_json::json!({ "allocationId": allocation_id, "actionIds": action_ids });
        self.client
            .typed(Method::PATCH, route("reorderActions", "/api/v2/admin/actions/reorder"), &[])
            .body_json(&body)
            .json()
            .await
    }
}

resource! {
    /// What members did, as administrators see it.
    ActionParticipations
}

impl ActionParticipations<'_> {
    /// One participation.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<ActionParticipation, Error> {
        let route = route("getActionParticipation", "/api/v2/admin/action-participations/{actionParticipationId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }
}

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

resource! {
    /// Achievements, as administrators see them.
    Achievements
}

impl Achievements<'_> {
    /// All achievements.
    pub fn list(self) -> List<Achievement> {
        List::new(self.client, route("listAchievements", "/api/v2/admin/achievements"))
    }
}

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
    /// Leaderboards, as administrators see them.
    Leaderboards
}

impl Leaderboards<'_> {
    /// All leaderboards' set-ups.
    pub fn list(self) -> List<LeaderboardConfig> {
        List::new(self.client, route("listLeaderboardConfigs", "/api/v2/admin/leaderboards/configs"))
    }

    /// One leaderboard's set-up.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<LeaderboardConfig, Error> {
        let route = route("getLeaderboardConfig", "/api/v2/admin/leaderboards/configs/{leaderboardConfigId}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Creates a leaderboard.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewLeaderboard) -> Result<LeaderboardConfig, Error> {
        let route = route("createLeaderboard", "/api/v2/admin/leaderboards");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }
}

resource! {
    /// Custom events.
    Events
}

impl Events<'_> {
    /// Logs an event for a user, who can be created on the way.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn log(self, body: &NewCustomEvent) -> Result<CustomEvent, Error> {
        let route = route("logCustomEvent", "/api/v2/admin/events/custom");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Makes a link that logs an event when it is opened.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn link(self, body: &NewEventLink) -> Result<EventLink, Error> {
        let route = route("createCustomEventLink", "/api/v2/admin/events/custom/link");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
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
