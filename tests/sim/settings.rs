//! The settings of a service, as a seed decides them.

use failover_core::model::{
    CheckKind, CheckModel, FenceModel, OnLoss, OnNewPrimary, OnNoSyncStandby, OnSalvage, Policy, PostgresModel, Role, RouteModel,
    ServerModel, ServiceKind, ServiceModel, TriggerModel,
};
use failover_core::sample::FenceLevel;
use failover_core::time::Span;

use super::dice::Dice;

fn ms(millis: u64) -> Span {
    Span::from_millis(millis)
}

/// The checks of these servers.
pub fn checks(servers: &[String], others: bool) -> Vec<CheckModel> {
    let check = |server: usize, kind: CheckKind, word: &str| CheckModel {
        name: format!("{}/{word}", servers[server]),
        server: u16::try_from(server).unwrap_or(0),
        kind,
        interval: ms(1_000),
        fast_interval: ms(50),
        timeout: ms(1_500),
        failure_threshold: 3,
        success_threshold: 2,
    };
    let mut checks: Vec<CheckModel> = (0..servers.len()).map(|server| check(server, CheckKind::Postgres, "postgres")).collect();
    if others {
        for server in 0..servers.len() {
            checks.push(check(server, CheckKind::Exec, "exec"));
            checks.push(check(server, CheckKind::Scripted, "scripted"));
        }
    }
    checks
}

pub fn service(at: usize, dice: &mut Dice) -> ServiceModel {
    let servers = dice.one(&[2, 2, 3, 3, 4]);
    let name = format!("s{at}");
    let ssh = dice.percent(85);
    let fence_command = dice.percent(30);
    let others = dice.percent(40);
    let policy = if others { dice.one(&[Policy::Count, Policy::All, Policy::Quorum(2)]) } else { Policy::Count };
    let names: Vec<String> = (1..=servers).map(|number| format!("db{number}")).collect();
    let checks = checks(&names, others);
    let instances = dice.one(&[0, 1, 1, 2]);
    let (require, exclusive);
    let mut model = ServiceModel {
        name,
        kind: if dice.percent(3) { ServiceKind::Application } else { ServiceKind::Postgres },
        servers: (0..servers)
            .map(|server| ServerModel {
                name: format!("db{}", server + 1),
                role: if server == 0 { Role::Primary } else { Role::Standby },
                priority: 100,
                candidate: server == 0 || dice.percent(90),
                ssh,
                fence_command,
                replication_name: None,
            })
            .collect(),
        checks,
        trigger: TriggerModel {
            failure_threshold: dice.one(&[1, 3, 3, 5]),
            failure_window: ms(dice.one(&[10_000, 60_000])),
            policy,
            cooldown: ms(dice.one(&[0, 5_000, 5_000, 300_000])),
            require_confirmation: dice.percent(12),
            confirm_timeout: ms(dice.one(&[5_000, 300_000])),
            failover_timeout: ms(dice.one(&[15_000, 120_000])),
            hang_after: ms(dice.one(&[2_500, 3_400, 10_000])),
            ping_interval: ms(dice.one(&[250, 500])),
            restart_grace: ms(dice.one(&[3_000, 10_000])),
            on_impaired: dice.percent(25).then(|| ms(5_000)),
        },
        // The dice are thrown in this order.
        postgres: {
            let max_lag_bytes = dice.one(&[0, 65_536, 1_048_576, 16_777_216]);
            let on_loss = if dice.percent(15) { OnLoss::Proceed } else { OnLoss::Refuse };
            require = if dice.percent(12) {
                dice.one(&[FenceLevel::None, FenceLevel::TrafficRemoved, FenceLevel::PowerOff])
            } else {
                FenceLevel::ProvenStopped
            };
            exclusive = dice.percent(35);
            PostgresModel {
                max_lag_bytes,
                on_loss,
                promotion_timeout: ms(dice.one(&[10_000, 60_000])),
                on_no_sync_standby: if dice.percent(70) { OnNoSyncStandby::Async } else { OnNoSyncStandby::Block },
                allow_delayed: dice.percent(10),
                salvage: OnSalvage::Off,
                salvage_timeout: ms(2_000),
                followers: OnNewPrimary::Off,
                rejoin: failover_core::model::OnRejoin::Manual,
                sync: failover_core::model::SyncModel::default(),
            }
        },
        fence: FenceModel { require, timeout: ms(10_000) },
        route: RouteModel { instances, exclusive, verify: instances > 0 && dice.percent(80), ..RouteModel::none() },
        pre_checks: dice.percent(15),
        follows: None,
    };
    if model.fence.require == FenceLevel::PowerOff {
        // The configuration asks for it: nothing else proves that the power is off.
        model.servers.iter_mut().for_each(|server| server.fence_command = true);
    }
    if model.kind == ServiceKind::Application {
        // Watched only: what an application with a route does is tried in tests/core/application.rs.
        model.route = RouteModel::none();
    }
    model
}
