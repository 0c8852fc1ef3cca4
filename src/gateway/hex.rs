//! Numbers in hexadecimal, as identifiers of requests and traces have them.

/// Fills `place` with the last digits of `number`.
pub(super) fn write(place: &mut [u8], number: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in place.rchunks_exact_mut(2).zip(number.to_le_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_last_digits_stand_as_they_are_read() {
        let mut place = [b'-'; 6];
        super::write(&mut place[1..5], 0x12_ab0f);
        assert_eq!(&place, b"-ab0f-");
        let mut whole = [0; 32];
        super::write(&mut whole, 0xf0e1);
        assert_eq!(whole, *b"0000000000000000000000000000f0e1");
    }
}
