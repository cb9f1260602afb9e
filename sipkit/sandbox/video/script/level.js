// How loud a track is, measured only while somebody asks. One AudioContext serves all meters and ends with the last.

// 16 times a second; a window of 2048 samples (43 ms at 48 kHz) for each.
const LEVEL_PAUSE = 60;
const LEVEL_WINDOW = 2048;

let levelContext = null;
let levelMeters = 0;

class LevelMeter {
  constructor(track, tell) {
    levelContext ??= new AudioContext();
    levelMeters += 1;
    this._source = levelContext.createMediaStreamSource(new MediaStream([track]));
    this._analyser = levelContext.createAnalyser();
    this._analyser.fftSize = LEVEL_WINDOW;
    this._source.connect(this._analyser);
    const samples = new Float32Array(LEVEL_WINDOW);
    this._timer = setInterval(() => tell(this._peak(samples)), LEVEL_PAUSE);
    wakeMeters();
  }

  stop() {
    clearInterval(this._timer);
    this._source.disconnect();
    levelMeters -= 1;
    if (levelMeters > 0) return;
    levelContext.close();
    levelContext = null;
  }

  _peak(samples) {
    this._analyser.getFloatTimeDomainData(samples);
    return Math.min(1, samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0));
  }
}

// A context made before the page's first click sleeps; whoever gets a click or a microphone wakes it.
function wakeMeters() {
  if (levelContext?.state === "suspended") levelContext.resume().catch(() => {});
}

// Keeps a meter running exactly while there are listeners and a track.
class LevelWatch {
  constructor(owner) {
    this._owner = owner;
    this._meter = null;
    this._track = null;
  }

  follow(track) {
    if (track === this._track) return;
    this._track = track;
    this._meter?.stop();
    this._meter = null;
    this.update();
  }

  update() {
    const wanted = this._track !== null && this._owner._hears("audioLevelUpdated");
    if (wanted && !this._meter) {
      this._meter = new LevelMeter(this._track, (audioLevel) => {
        this._owner._tell(new OtEvent("audioLevelUpdated", { audioLevel }));
      });
    } else if (!wanted && this._meter) {
      this._meter.stop();
      this._meter = null;
    }
  }
}
