//! The names that Nudj's pages list.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// A name of an event that is documented. New ones appear over time: they are [`Unknown`](Self::Unknown), and
        /// [`Event::name`](super::Event::name) has the text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* #[doc = concat!("`", $name, "`")] $kind,)+
            /// `shopify.*`: anything of the shop integration.
            Shopify,
            /// A name that was not known when this was written.
            Unknown,
        }

        impl EventKind {
            /// All names that are listed one by one.
            pub const LISTED: &'static [(&'static str, Self)] = &[$(($name, Self::$kind),)+];

            /// The kind that `name` stands for.
            pub fn of(name: &str) -> Self {
                match name {
                    $($name => Self::$kind,)+
                    _ if name.starts_with("shopify.") => Self::Shopify,
                    _ => Self::Unknown,
                }
            }
        }
    };
}

kinds! {
    /// Of the integration page's example; no list of events has it:
    UserUpdated = "user.updated",
    RewardEarned = "reward.earned",
    RewardDelivered = "reward.delivered",
    RewardDeliveryFailed = "reward.delivery_failed",
    RewardRedeemed = "reward.redeemed",
    RewardExpired = "reward.expired",
    ChallengeStarted = "challenge.started",
    ChallengeCompleted = "challenge.completed",
    ActionCompleted = "action.completed",
    AchievementEarned = "achievement.earned",
    PointsAwarded = "points.awarded",
    ReferralReferrerCredited = "referral.referrer_credited",
    ReferralRefereeCredited = "referral.referee_credited",
    /// Activity form:
    ActivityChallengeStarted = "challenge-started",
    /// Activity form:
    ActivityChallengeCompletion = "challenge-completion",
    /// Activity form:
    ActivityActionParticipation = "action-participation",
    /// Activity form:
    ActivityRewardDistribution = "reward-distribution",
    /// Activity form:
    ActivityRewardClaim = "reward-claim",
    /// Activity form:
    ActivityRewardRedemption = "reward-redemption",
    /// Activity form:
    ActivityShopPurchase = "shop-purchase",
    /// Activity form:
    ActivityAchievementCompletion = "achievement-completion",
    /// Activity form:
    ActivityPostLike = "post-like",
    /// Activity form:
    ActivityStreakExtended = "streak-extended",
}
