//! What libcamera says about one picture: exposure, gains, colour, focus.

use std::collections::HashMap;
use std::time::Duration;

use dmaframe_core::{Clock, Timestamp};
use libcamera::control::ControlList;
use libcamera::control_value::ControlValue;
use libcamera::geometry::Rectangle;

/// A completed request's metadata, and the extension by which every frame of the request has it:
/// `frame.meta().extensions.get::<CameraMetadata>()`.
///
/// Controls are told apart by their names, since their numbers change from one libcamera to the next. What the camera does
/// not report is `None`. Source: `src/libcamera/control_ids_core.yaml`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CameraMetadata {
    /// libcamera's count of requests since the camera was started.
    pub sequence: u32,
    /// When the first row was exposed (`SensorTimestamp`).
    pub sensor_timestamp: Option<Timestamp>,
    /// `ExposureTime`.
    pub exposure_time: Option<Duration>,
    /// Time from the frame before to this one (`FrameDuration`).
    pub frame_duration: Option<Duration>,
    /// `AnalogueGain`: 1.0 is none.
    pub analogue_gain: Option<f32>,
    /// `DigitalGain`: 1.0 is none.
    pub digital_gain: Option<f32>,
    /// White balance: gains of red and blue against green (`ColourGains`).
    pub colour_gains: Option<[f32; 2]>,
    /// `ColourTemperature`, in kelvin.
    pub colour_temperature: Option<i32>,
    /// From camera to sRGB, row by row (`ColourCorrectionMatrix`).
    pub colour_correction_matrix: Option<[[f32; 3]; 3]>,
    /// Of red, green in red rows, green in blue rows and blue, on the scale of 16-bit samples (`SensorBlackLevels`).
    pub sensor_black_levels: Option<[i32; 4]>,
    /// Brightness of the scene (`Lux`).
    pub lux: Option<f32>,
    /// Sharpness, by no scale but its own (`FocusFoM`).
    pub focus_fom: Option<i32>,
    /// In dioptres: 0 is infinity (`LensPosition`).
    pub lens_position: Option<f32>,
    /// Exposure control (`AeState`, and `AeLocked` before libcamera 0.5).
    pub ae_state: Option<AeState>,
    /// White balance (`AwbState`, `AwbLocked`).
    pub awb_state: Option<AwbState>,
    /// Focus (`AfState`).
    pub af_state: Option<AfState>,
    /// The part of the sensor that the picture shows, in the sensor's pixels (`ScalerCrop`).
    pub scaler_crop: Option<Rectangle>,
    /// In degrees Celsius (`SensorTemperature`).
    pub sensor_temperature: Option<f32>,
    /// Everything else, in libcamera's own terms.
    pub others: Vec<OtherControl>,
}

/// A control that [`CameraMetadata`] has no field for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OtherControl {
    /// Its number in this libcamera.
    pub id: u32,
    /// Its name; the number where libcamera does not say.
    pub name: String,
    /// Its value.
    pub value: ControlValue,
}

/// Automatic exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AeState {
    /// Not working: exposure and gain are set by hand.
    Idle,
    /// On its way.
    Searching,
    /// There.
    Converged,
}

/// Automatic white balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AwbState {
    /// Not working: the gains are set by hand.
    Idle,
    /// On its way.
    Searching,
    /// There.
    Converged,
    /// There, and told to stay.
    Locked,
}

/// Automatic focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AfState {
    /// Not working.
    Idle,
    /// On its way.
    Scanning,
    /// Sharp.
    Focused,
    /// Nothing found to be sharp.
    Failed,
}

/// Names of this libcamera's controls by number, asked for once.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<u32, String>);

impl Names {
    fn of(&mut self, list: &ControlList, id: u32) -> &str {
        if self.0.is_empty() {
            let known = list.id_map().and_then(|map| map.iter()).into_iter().flatten();
            self.0
                .extend(known.map(|(id, control)| (id, control.name().to_owned())));
        }
        self.0.entry(id).or_insert_with(|| {
            libcamera::controls::ControlId::from_id(id).map_or_else(|| id.to_string(), |id| id.name())
        })
    }
}

impl CameraMetadata {
    pub(crate) fn read(sequence: u32, list: &ControlList, names: &mut Names) -> Self {
        let mut found = Self {
            sequence,
            ..Self::default()
        };
        for (id, value) in list {
            let name = names.of(list, id);
            if !found.take(name, &value) {
                found.others.push(OtherControl {
                    id,
                    name: name.to_owned(),
                    value,
                });
            }
        }
        found
    }

    /// Whether there is a field for it, and the value is of the field's type.
    fn take(&mut self, name: &str, value: &ControlValue) -> bool {
        match name {
            "SensorTimestamp" => set(
                &mut self.sensor_timestamp,
                long(value).and_then(|ns| timestamp(u64::try_from(ns).unwrap_or(0))),
            ),
            "ExposureTime" => set(&mut self.exposure_time, micros(value)),
            "FrameDuration" => set(&mut self.frame_duration, micros(value)),
            "AnalogueGain" => set(&mut self.analogue_gain, float(value)),
            "DigitalGain" => set(&mut self.digital_gain, float(value)),
            "ColourGains" => set(&mut self.colour_gains, floats(value)),
            "ColourTemperature" => set(&mut self.colour_temperature, int(value)),
            "ColourCorrectionMatrix" => set(
                &mut self.colour_correction_matrix,
                floats::<9>(value).map(|all| [0, 3, 6].map(|row| [all[row], all[row + 1], all[row + 2]])),
            ),
            "SensorBlackLevels" => set(&mut self.sensor_black_levels, ints(value)),
            "Lux" => set(&mut self.lux, float(value)),
            "FocusFoM" => set(&mut self.focus_fom, int(value)),
            "LensPosition" => set(&mut self.lens_position, float(value)),
            "AeState" => set(&mut self.ae_state, int(value).and_then(ae_state)),
            "AeLocked" => set(
                &mut self.ae_state,
                boolean(value).map(|there| {
                    if there {
                        AeState::Converged
                    } else {
                        AeState::Searching
                    }
                }),
            ),
            "AwbState" => set(&mut self.awb_state, int(value).and_then(awb_state)),
            // Says less than the state, so it does not replace one.
            "AwbLocked" if self.awb_state.is_none() => set(
                &mut self.awb_state,
                boolean(value).map(|there| {
                    if there {
                        AwbState::Converged
                    } else {
                        AwbState::Searching
                    }
                }),
            ),
            "AfState" => set(&mut self.af_state, int(value).and_then(af_state)),
            "ScalerCrop" => set(&mut self.scaler_crop, rectangle(value)),
            "SensorTemperature" => set(&mut self.sensor_temperature, float(value)),
            _ => false,
        }
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    let found = value.is_some();
    if found {
        *field = value;
    }
    found
}

fn ae_state(value: i32) -> Option<AeState> {
    // Before 0.5 it was a draft with five values, of which the last two are about locking and flash.
    Some(match value {
        0 => AeState::Idle,
        1 => AeState::Searching,
        2 => AeState::Converged,
        _ => return None,
    })
}

fn awb_state(value: i32) -> Option<AwbState> {
    Some(match value {
        0 => AwbState::Idle,
        1 => AwbState::Searching,
        2 => AwbState::Converged,
        3 => AwbState::Locked,
        _ => return None,
    })
}

fn af_state(value: i32) -> Option<AfState> {
    Some(match value {
        0 => AfState::Idle,
        1 => AfState::Scanning,
        2 => AfState::Focused,
        3 => AfState::Failed,
        _ => return None,
    })
}

/// A time of a picture, and its clock; `None` for 0, which is how pipelines without a clock say so.
///
/// libcamera documents `CLOCK_BOOTTIME`, but most pipelines hand on what the kernel's driver said, which is
/// `CLOCK_MONOTONIC`. A picture is never from the future and seldom old, so it is the clock on which it is younger; where
/// the two run together (no suspend since boot) nothing depends on it.
pub(crate) fn timestamp(ns: u64) -> Option<Timestamp> {
    if ns == 0 {
        return None;
    }
    let (monotonic, boottime) = (
        Timestamp::now(Clock::Monotonic).ns,
        Timestamp::now(Clock::Boottime).ns,
    );
    Some(Timestamp {
        ns,
        clock: clock_of(ns, monotonic, boottime),
    })
}

fn clock_of(ns: u64, monotonic: u64, boottime: u64) -> Clock {
    // Half of the distance between the clocks, so that a scheduling delay decides nothing.
    let middle = monotonic + boottime.saturating_sub(monotonic) / 2;
    if ns <= monotonic || ns <= middle {
        Clock::Monotonic
    } else {
        Clock::Boottime
    }
}

fn boolean(value: &ControlValue) -> Option<bool> {
    match value {
        ControlValue::Bool(list) if list.len() == 1 => list.first().copied(),
        _ => None,
    }
}

fn int(value: &ControlValue) -> Option<i32> {
    match value {
        ControlValue::Int32(list) if list.len() == 1 => list.first().copied(),
        _ => None,
    }
}

fn ints<const N: usize>(value: &ControlValue) -> Option<[i32; N]> {
    match value {
        ControlValue::Int32(list) => list.as_slice().try_into().ok(),
        _ => None,
    }
}

fn long(value: &ControlValue) -> Option<i64> {
    match value {
        ControlValue::Int64(list) if list.len() == 1 => list.first().copied(),
        ControlValue::Int32(list) if list.len() == 1 => list.first().map(|value| i64::from(*value)),
        _ => None,
    }
}

fn micros(value: &ControlValue) -> Option<Duration> {
    let micros = long(value)?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

fn float(value: &ControlValue) -> Option<f32> {
    match value {
        ControlValue::Float(list) if list.len() == 1 => list.first().copied(),
        _ => None,
    }
}

fn floats<const N: usize>(value: &ControlValue) -> Option<[f32; N]> {
    match value {
        ControlValue::Float(list) => list.as_slice().try_into().ok(),
        _ => None,
    }
}

fn rectangle(value: &ControlValue) -> Option<Rectangle> {
    match value {
        ControlValue::Rectangle(list) if list.len() == 1 => list.first().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcamera::controls;

    /// Through a list of libcamera's own, since none of the cameras that a test machine has reports these.
    #[test]
    fn a_list_of_libcameras_becomes_fields_and_the_rest_is_kept() {
        let mut list = ControlList::new();
        list.set(controls::ExposureTime(10_000)).unwrap();
        list.set(controls::FrameDuration(33_333)).unwrap();
        list.set(controls::AnalogueGain(2.5)).unwrap();
        list.set(controls::DigitalGain(1.25)).unwrap();
        list.set(controls::ColourGains([1.5, 2.0])).unwrap();
        list.set(controls::ColourTemperature(5500)).unwrap();
        let matrix = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
        list.set(controls::ColourCorrectionMatrix(matrix)).unwrap();
        list.set(controls::SensorBlackLevels([4096, 4097, 4098, 4099]))
            .unwrap();
        list.set(controls::Lux(120.5)).unwrap();
        list.set(controls::FocusFoM(77)).unwrap();
        list.set(controls::LensPosition(0.5)).unwrap();
        list.set(controls::AwbLocked(true)).unwrap();
        list.set(controls::AfState::Focused).unwrap();
        list.set(controls::SensorTemperature(41.0)).unwrap();
        list.set(controls::Brightness(0.25)).unwrap();
        let found = CameraMetadata::read(7, &list, &mut Names::default());
        assert_eq!(found.sequence, 7);
        assert_eq!(found.exposure_time, Some(Duration::from_millis(10)));
        assert_eq!(found.frame_duration, Some(Duration::from_micros(33_333)));
        assert_eq!((found.analogue_gain, found.digital_gain), (Some(2.5), Some(1.25)));
        assert_eq!(found.colour_gains, Some([1.5, 2.0]));
        assert_eq!(found.colour_temperature, Some(5500));
        assert_eq!(found.colour_correction_matrix, Some(matrix));
        assert_eq!(found.sensor_black_levels, Some([4096, 4097, 4098, 4099]));
        assert_eq!((found.lux, found.focus_fom), (Some(120.5), Some(77)));
        assert_eq!(
            (found.lens_position, found.sensor_temperature),
            (Some(0.5), Some(41.0))
        );
        assert_eq!(found.awb_state, Some(AwbState::Converged));
        assert_eq!(found.af_state, Some(AfState::Focused));
        assert_eq!(found.ae_state, None, "not reported");
        let others: Vec<_> = found.others.iter().map(|other| other.name.as_str()).collect();
        assert_eq!(others, ["Brightness"]);
    }

    #[test]
    fn states_go_by_name_and_unknown_values_are_kept_as_they_are() {
        let mut found = CameraMetadata::default();
        let int = |value: i32| ControlValue::from(value);
        assert!(found.take("AeState", &int(2)));
        assert_eq!(found.ae_state, Some(AeState::Converged));
        assert!(found.take("AeLocked", &ControlValue::from(false)));
        assert_eq!(found.ae_state, Some(AeState::Searching));
        assert!(found.take("AwbState", &int(3)));
        assert!(!found.take("AwbLocked", &ControlValue::from(true)), "says less");
        assert_eq!(found.awb_state, Some(AwbState::Locked));
        assert!(!found.take("AfState", &int(9)));
        assert!(
            !found.take("ExposureTime", &ControlValue::from(1.0f32)),
            "another type"
        );
        assert!(!found.take("ExposureTime", &int(-1)));
        assert!(!found.take("ColourGains", &ControlValue::from([1.0f32; 3])));
        assert_eq!(found.exposure_time, None);
    }

    #[test]
    fn a_time_is_on_the_clock_on_which_it_is_young() {
        let second = 1_000_000_000;
        // Ten hours of sleep between the two clocks.
        let (monotonic, boottime) = (100 * second, 36_100 * second);
        assert_eq!(clock_of(99 * second, monotonic, boottime), Clock::Monotonic);
        assert_eq!(clock_of(36_099 * second, monotonic, boottime), Clock::Boottime);
        assert_eq!(clock_of(99 * second, monotonic, monotonic), Clock::Monotonic);
        assert_eq!(timestamp(0), None);
    }
}
