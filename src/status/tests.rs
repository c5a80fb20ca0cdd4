use super::*;

fn record(number: usize) -> ExposureRecord {
    ExposureRecord::new(
        format!("cam/{number}/1/1"),
        format!("exposure-{number}"),
        format!("file:///data/{number}.fits"),
    )
}

fn done(objects: usize) -> impl FnOnce(&mut ExposureRecord) {
    move |r| {
        r.state = State::Done;
        r.objects = Some(objects);
    }
}

#[test]
fn an_exposure_is_followed_from_its_event_to_its_catalogue() {
    let status = Status::new(10);
    status.set_workers(2);
    status.began(record(1));
    status.began(record(2));
    status.stage("cam/1/1/1", "psf");
    assert_eq!(status.workers(), (2, 2));
    assert_eq!(status.find("exposure-1").unwrap().state, State::Working { stage: "psf".into() });
    status.ended("cam/1/1/1", done(120));
    let first = status.find("exposure-1").unwrap();
    assert_eq!((first.state, first.objects, first.finished.is_some()), (State::Done, Some(120), true));
    let names: Vec<String> = status.recent().into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["exposure-2", "exposure-1"], "newest first");
    assert_eq!(status.workers(), (1, 2));
    let minute = status.throughput(1);
    assert_eq!((minute.exposures, minute.objects), (1, 120));
    assert_eq!(status.last_hour().iter().sum::<u64>(), 1);
}

#[test]
fn memory_is_bounded() {
    let status = Status::new(20);
    status.began(record(0));
    for number in 1..5000 {
        status.began(ExposureRecord { source: "x".repeat(100_000), ..record(number) });
        let failed = State::Failed { stage: "read".into(), kind: "bad_input".into(), reason: "\u{e9}".repeat(50_000) };
        status.ended(&format!("cam/{number}/1/1"), |r| r.state = failed);
    }
    assert_eq!(status.recent().len(), 20);
    assert_eq!(status.failures().len(), FAILURES);
    assert!(status.find("exposure-0").is_some(), "what is in hand stays");
    let all = status.recent().into_iter().chain(status.failures());
    let longest = all
        .map(|r| match r.state {
            State::Failed { reason, .. } => reason.len().max(r.source.len()),
            _ => r.source.len(),
        })
        .max();
    assert!(longest.unwrap() < 2100, "{longest:?}");
}

#[test]
fn even_work_in_hand_is_bounded() {
    let status = Status::new(3);
    for number in 0..10 {
        status.began(record(number));
    }
    let names: Vec<String> = status.recent().into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["exposure-9", "exposure-8", "exposure-7"]);
}

#[test]
fn a_second_attempt_replaces_the_first() {
    let status = Status::new(10);
    status.began(record(1));
    let at = OffsetDateTime::now_utc();
    status.ended("cam/1/1/1", |r| r.state = State::Retrying { reason: "server away".into(), at });
    assert_eq!(status.find("exposure-1").unwrap().finished, None);
    status.began(ExposureRecord { attempt: 2, ..record(1) });
    let recent = status.recent();
    assert_eq!((recent.len(), recent[0].attempt), (1, 2));
    assert!(status.failures().is_empty(), "a retry is no failure yet");
}

#[test]
fn ready_when_every_component_is() {
    let status = Status::new(1);
    assert!(!status.ready(), "nothing was checked");
    for component in Component::ALL {
        status.set(component, Ok(()));
    }
    assert!(status.ready());
    status.set(Component::Disk, Err("2 MiB left".into()));
    assert!(!status.ready());
    let (_, disk) = status.readiness().into_iter().find(|(c, _)| *c == Component::Disk).unwrap();
    assert_eq!(disk, Err("2 MiB left".to_string()));
}

#[test]
fn every_change_and_nothing_else_is_told() {
    let status = Status::new(5);
    let seen = status.subscribe();
    let now = || *seen.borrow();
    let start = now();
    status.queue(3);
    assert_eq!((now(), status.pending()), (start + 1, 3));
    status.queue(3);
    status.set(Component::Bus, Err("not checked yet".into()));
    status.stage("unknown", "psf");
    status.ended("unknown", |_| {});
    assert_eq!(now(), start + 1, "nothing changed");
    status.set(Component::Bus, Ok(()));
    status.began(record(1));
    status.stage("cam/1/1/1", "read");
    status.ended("cam/1/1/1", done(1));
    assert_eq!(now(), start + 5);
    status.stage("cam/1/1/1", "psf");
    assert_eq!(
        status.find("exposure-1").unwrap().state,
        State::Done,
        "what has ended does not begin again by a late word"
    );
}

#[test]
fn a_beat_is_a_sign_of_life() {
    let status = Status::new(1);
    std::thread::sleep(Duration::from_millis(300));
    let before = status.since_beat();
    assert!(before >= Duration::from_millis(300), "{before:?}");
    status.beat();
    assert!(status.since_beat() < before);
}
