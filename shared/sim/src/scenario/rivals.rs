//! [`Rivals`]: two devices of one person write the same pages at the same moment.
//!
//! Each reads the newest version, numbers its own after it, and puts: the numbers are the same. Of what is
//! acknowledged the version counts that the order puts last, for everybody, from that moment on. A device
//! that was too late is told so. Some pages are deleted by one while the other writes.

use dht_context::operations::PutError;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::moves::{all_found, everyone, gather, minutes, unexpected};
use super::notebook::Notebook;
use crate::dice::Dice;
use crate::view::Copies;
use crate::world::{Failure, World};

/// Pages that both write.
const PAGES: u64 = 20;
/// How often.
const ROUNDS: u64 = 8;
/// In one round of so many the second device deletes.
const DELETES: u64 = 3;

/// Two writers of one slot.
pub struct Rivals;

impl Scenario for Rivals {
    fn name(&self) -> &'static str {
        "rivals"
    }

    fn about(&self) -> &'static str {
        "two devices write and delete the same pages at the same moment: of what was acknowledged the \
         last version by order is what everybody reads, at once and later"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let notebook = Notebook::new(world, "notebook");
    let mut dice = world.dice("rivals");
    gather(world).await?;
    let (mut acknowledged, mut told) = (0, 0);
    for round in 0..ROUNDS {
        let (here, there) = write(world, &notebook, &mut dice, round).await?;
        (acknowledged, told) = (acknowledged + here, told + there);
        all_found(world).await?;
    }
    world.note(format!(
        "{acknowledged} writes acknowledged, {told} were told that another came first"
    ));
    if acknowledged < told {
        return Err(Failure::Expected("most rivals keep each other from writing".to_owned()));
    }
    world.converged(Copies::Nearly, minutes(30)).await?;
    all_found(world).await
}

/// Both devices write every page, each through a node of its own. Says how many writes were acknowledged,
/// and how many writers were told that another came first.
async fn write(
    world: &mut World,
    notebook: &Notebook,
    dice: &mut Dice,
    round: u64,
) -> Result<(usize, usize), Failure> {
    let all = everyone(world);
    let mut tasks = Vec::new();
    for page in 0..PAGES {
        let second = match (page + round) % DELETES {
            0 if round > 0 => notebook.delete(page),
            _ => notebook.write(page, 2 * round + 1, Retention::Days7),
        };
        for errand in [notebook.write(page, 2 * round, Retention::Days7), second] {
            let Some(node) = all.get(dice.place(all.len())) else { continue };
            tasks.push(world.errand(*node, |user| async move { errand.run(&user).await })?);
        }
    }
    let (mut acknowledged, mut told) = (0, 0);
    for task in tasks {
        match task.await.map_err(|error| unexpected(&error))? {
            Ok(_) => acknowledged += 1,
            Err(
                PutError::Refused { .. }
                | PutError::QuorumNotReached { .. }
                | PutError::UnexpectedSeq { .. }
                | PutError::NothingToDelete,
            ) => told += 1,
            Err(error) => return Err(unexpected(&error)),
        }
    }
    Ok((acknowledged, told))
}
