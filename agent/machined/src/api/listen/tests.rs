use super::*;

#[test]
fn one_source_cannot_take_every_place() {
    let door = Arc::new(Door::default());
    let greedy: IpAddr = "10.0.2.66".parse().unwrap();
    let mut held: Vec<_> = std::iter::from_fn(|| {
        let place = Door::enter(&door, greedy)?;
        place.shake_hands();
        Some(place)
    })
    .collect();
    assert_eq!(held.len(), PER_SOURCE);
    assert!(
        Door::enter(&door, "10.0.2.2".parse().unwrap()).is_some(),
        "others still get in"
    );
    held.pop();
    assert!(
        Door::enter(&door, greedy).is_some(),
        "a place is given back"
    );
}

#[test]
fn unfinished_handshakes_are_bounded_and_everything_is_given_back() {
    let door = Arc::new(Door::default());
    let from = |n: u8| IpAddr::from([10, 0, n, 1]);
    let held: Vec<_> = (0..=255)
        .map_while(|n| Door::enter(&door, from(n)))
        .collect();
    assert_eq!(held.len(), HANDSHAKES);
    drop(held);
    let counts = door.lock();
    assert_eq!(
        (counts.all, counts.handshakes, counts.sources.len()),
        (0, 0, 0)
    );
}

#[test]
fn one_network_of_ipv6_is_one_source() {
    let of = |text: &str| source(text.parse().unwrap());
    assert_eq!(of("fd00::1"), of("fd00::ffff:1"));
    assert_ne!(of("fd00::1"), of("fd00:0:0:1::1"));
    assert_eq!(of("::ffff:10.0.2.2"), of("10.0.2.2"));
    assert_ne!(of("10.0.2.2"), of("10.0.2.3"));
}
