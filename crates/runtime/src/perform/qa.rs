//! QA suites as steps: what their results mean.

use super::{Act, Performed, done, failed, unexpected};
use crate::ports::QaResult;
use serin_model::{QaName, Reason};

pub(super) async fn run(act: &Act, name: &QaName) -> Performed {
    let Some(suite) = act.environment()?.qa.get(name) else {
        return unexpected("a QA suite of the plan", name.as_str());
    };
    match act.ports.qa.run(suite).await {
        QaResult::Passed { executed, flaky } if flaky.is_empty() => {
            done(format!("{executed} test(s) passed"))
        }
        QaResult::Passed { executed, flaky } => {
            done(format!("{executed} test(s) passed; flaky: {}", flaky.join(", ")))
        }
        QaResult::Failed { tests } => failed(Reason::TestsFailed(tests)),
        QaResult::TooFew { executed } => {
            failed(Reason::TooFewTests { executed, minimum: suite.minimum_tests })
        }
        QaResult::Broken { why } => failed(Reason::QaBroken(why)),
    }
}
