//! The planner: a recipe, a build and what was observed become a plan. Pure; it cannot cause anything.
//!
//! Planning twice gives equal plans, and planning right after success gives an empty one. What the plan leaves out or
//! puts in against expectation is said in the [`PlanReport`]; what makes it impossible, in [`PlanError`].

mod afterwards;
mod derive;
mod forecast;
mod lint;
mod order;
mod plan;
mod report;
mod stages;

pub use afterwards::{bake_afterwards, bakes_afterwards};
pub use derive::Recipes;
pub use forecast::forecast;
pub use lint::{Finding, check_plan};
pub use plan::{Request, plan};
pub use report::{Note, PlanError, PlanReport};
