// What tests measure in a page, and tones and pictures of their own to send. Sounds are told in Hz and dBFS,
// with the same formulas as tests/standins/ear.py.
window.measure = (() => {
  // 8192 samples are 0.17 s at 48 kHz: bins of 6 Hz, and a parabola through the peak finds a tone to 1 Hz.
  const WINDOW = 8192;
  const DEEP = -120;
  const ears = new WeakMap();
  let context = null;

  const pause = ms => new Promise(done => setTimeout(done, ms));
  const audio = async () => {
    context ??= new AudioContext();
    if (context.state !== "running") await context.resume();
    return context;
  };

  // Elements that were told to play need not be part of the page: what its script plays is noted here.
  const players = new Set();
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    players.add(this);
    return play.call(this);
  };

  // --- hearing ---------------------------------------------------------------------------------------------

  async function earOf(source) {
    const stream = source instanceof MediaStream ? source : source.srcObject;
    if (!stream) return null;
    const tracks = stream.getAudioTracks().map(track => track.id).join();
    if (!tracks) return null;
    const known = ears.get(stream);
    if (known?.tracks === tracks) return known;
    known?.input.disconnect();
    const listening = await audio();
    // Chromium pulls a remote stream only while an element plays it (crbug.com/121673).
    const player = new Audio();
    player.muted = true;
    player.srcObject = stream;
    play.call(player).catch(() => {});
    const input = listening.createMediaStreamSource(stream);
    const analyser = listening.createAnalyser();
    analyser.fftSize = WINDOW;
    input.connect(analyser);
    const ear = {tracks, player, input, analyser, rate: listening.sampleRate, since: listening.currentTime};
    ears.set(stream, ear);
    return ear;
  }

  // The newest window of sound; an element that plays nothing, or is muted, gives silence.
  async function samples(source) {
    const ear = await earOf(source);
    const rate = ear?.rate ?? 48000;
    const sound = new Float32Array(WINDOW);
    if (!ear || (source instanceof HTMLMediaElement && (source.muted || source.paused))) return {sound, rate};
    const full = ear.since + WINDOW / rate;
    while (ear.analyser.context.currentTime < full) await pause(10);
    ear.analyser.getFloatTimeDomainData(sound);
    return {sound, rate};
  }

  const decibel = power => 10 * Math.log10(Math.max(power, 10 ** (DEEP / 10)));
  const hann = i => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / (WINDOW - 1));
  const HANN_POWER = Array.from({length: WINDOW}, (_, i) => hann(i) ** 2).reduce((sum, w) => sum + w, 0);

  // The power of each bin of the Hann-windowed sound: an in-place radix-2 FFT.
  function spectrum(sound) {
    const re = Float64Array.from(sound, (value, i) => value * hann(i));
    const im = new Float64Array(WINDOW);
    for (let i = 1, j = 0; i < WINDOW; i++) {
      let bit = WINDOW >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) [re[i], re[j]] = [re[j], re[i]];
    }
    for (let size = 2; size <= WINDOW; size *= 2) {
      for (let k = 0; k < size / 2; k++) {
        const [c, s] = [Math.cos(2 * Math.PI * k / size), -Math.sin(2 * Math.PI * k / size)];
        for (let i = k; i < WINDOW; i += size) {
          const j = i + size / 2;
          const [x, y] = [re[j] * c - im[j] * s, re[j] * s + im[j] * c];
          [re[j], im[j], re[i], im[i]] = [re[i] - x, im[i] - y, re[i] + x, im[i] + y];
        }
      }
    }
    return re.subarray(0, WINDOW / 2).map((value, i) => value ** 2 + im[i] ** 2);
  }

  function describe(sound, rate) {
    const level = decibel(sound.reduce((sum, value) => sum + value ** 2, 0) / WINDOW);
    const power = spectrum(sound);
    const width = rate / WINDOW;
    let peak = Math.ceil(60 / width);
    for (let i = peak; i < Math.floor(4000 / width); i++) if (power[i] > power[peak]) peak = i;
    const [a, b, c] = [-1, 0, 1].map(step => decibel(power[peak + step]));
    const shift = a - 2 * b + c === 0 ? 0 : 0.5 * (a - c) / (a - 2 * b + c);
    const strength = hz => {
      const [low, high] = [Math.round((hz - 12) / width), Math.round((hz + 12) / width)];
      return decibel(2 * power.slice(low, high + 1).reduce((sum, value) => sum + value, 0) / (WINDOW * HANN_POWER));
    };
    return {hz: level <= -90 ? 0 : (peak + shift) * width, level, strength};
  }

  async function listen(source) {
    const {sound, rate} = await samples(source);
    return describe(sound, rate);
  }

  // {hz, level} of a MediaStream, <audio> or <video>: its dominant tone (0 in silence) and its level.
  async function tone(source) {
    const {hz, level} = await listen(source);
    return {hz, level};
  }

  // The level of each of some tones, in dBFS.
  async function strengths(source, tones) {
    const {strength} = await listen(source);
    return tones.map(strength);
  }

  // The loudest of what the page's script plays through elements of its own; silence when there is none.
  async function listenToPage() {
    const all = await Promise.all([...players].filter(player => player.srcObject).map(listen));
    return all.sort((a, b) => b.level - a.level)[0] ?? {hz: 0, level: DEEP, strength: () => DEEP};
  }

  async function until(hear, seconds, what, accept) {
    const began = performance.now();
    for (;;) {
      const now = await hear();
      const passed = (performance.now() - began) / 1000;
      if (accept(now)) return passed;
      if (passed > seconds) {
        throw new Error(`waited ${seconds} s for ${what}; heard ${now.hz.toFixed(1)} Hz, ${now.level.toFixed(1)} dBFS`);
      }
      await pause(20);
    }
  }

  // Resolves with the seconds waited; the tone need not be the only one (the others of a room are heard, too).
  const waitTone = (source, hz, loud, seconds) =>
    until(() => listen(source), seconds, `a tone of ${hz} Hz`, now => now.strength(hz) > loud);
  const waitSilence = (source, quiet, seconds) =>
    until(() => listen(source), seconds, "silence", now => now.level < quiet);
  const waitToneOfPage = (hz, loud, seconds) =>
    until(listenToPage, seconds, `a tone of ${hz} Hz`, now => now.strength(hz) > loud);
  const waitSoundOfPage = (loud, seconds) => until(listenToPage, seconds, "sound", now => now.level > loud);
  const waitSilenceOfPage = (quiet, seconds) => until(listenToPage, seconds, "silence", now => now.level < quiet);

  // --- seeing ----------------------------------------------------------------------------------------------

  const frames = video => video.getVideoPlaybackQuality().totalVideoFrames;

  function waitFrames(video, count, seconds) {
    return new Promise((done, fail) => {
      let seen = 0;
      const timer = setTimeout(() => fail(new Error(`saw ${seen} of ${count} frames in ${seconds} s`)), seconds * 1000);
      const look = () => {
        if (++seen < count) return video.requestVideoFrameCallback(look);
        clearTimeout(timer);
        done();
      };
      video.requestVideoFrameCallback(look);
    });
  }

  // The mean colour of a picture, [red, green, blue] from 0 to 255; black while there is none.
  function colour(video) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [32, 24];
    const pen = canvas.getContext("2d", {willReadFrequently: true});
    pen.drawImage(video, 0, 0, canvas.width, canvas.height);
    const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
    const sums = [0, 0, 0];
    data.forEach((value, i) => { if (i % 4 < 3) sums[i % 4] += value; });
    return sums.map(sum => Math.round(sum / (data.length / 4)));
  }

  // --- sending ---------------------------------------------------------------------------------------------

  // A sine at -15 dBFS, as an audio track.
  function toneTrack(hz, amplitude = 0.25) {
    context ??= new AudioContext();
    const out = context.createMediaStreamDestination();
    const gain = new GainNode(context, {gain: amplitude});
    const sine = new OscillatorNode(context, {frequency: hz});
    sine.connect(gain).connect(out);
    sine.start();
    context.resume();
    return out.stream.getAudioTracks()[0];
  }

  // A plain colour (any CSS colour) with a thin bar that moves, as a video track.
  function pictureTrack(colour, {width = 320, height = 240, perSecond = 15} = {}) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    let step = 0;
    const draw = () => {
      pen.fillStyle = colour;
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = "#808080";
      pen.fillRect((step++ * 8) % width, 0, 8, height);
    };
    draw();
    const track = canvas.captureStream(perSecond).getVideoTracks()[0];
    const timer = setInterval(() => track.readyState === "ended" ? clearInterval(timer) : draw(), 1000 / perSecond);
    return track;
  }

  // From now on this page's microphone is a tone and its camera a picture, for whatever script asks for them.
  function useDevices(hz, colour) {
    navigator.mediaDevices.getUserMedia = async ({audio: wantsAudio, video: wantsVideo}) => new MediaStream([
      ...wantsAudio ? [toneTrack(hz)] : [],
      ...wantsVideo ? [pictureTrack(colour)] : [],
    ]);
  }

  return {
    tone, strengths, waitTone, waitSilence, waitToneOfPage, waitSoundOfPage, waitSilenceOfPage,
    frames, waitFrames, colour, toneTrack, pictureTrack, useDevices,
  };
})();
