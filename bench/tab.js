// What the benchmarks do in a page: join a session with the sandbox's script, make bursts of sound at known times, and
// note when sound arrives. Times are told in ms of the page's clock (performance.now()) since its navigation began.
window.tab = (() => {
  const LOUD = 0.02; // -34 dBFS; the phones' ears have the same threshold to 2 dB
  const PAUSE = 0.15; // seconds of quiet after which a sound is a new one
  const LEVEL = 0.2; // of bursts and tones, as the phones'
  const GAP = 0.5; // seconds from burst to burst
  const SHIFT = 0.0037; // seconds; shows every distance between the page's ticks and the sandbox's
  const LOOK = 4; // ms between two looks at the clocks
  const NEAR = 0.2; // seconds around a sound in which they count for it

  const connections = [];
  const onsets = []; // of remote sound, in seconds of the audio graph's clock
  const waiting = [];
  let looks = [];
  let looking = 0;

  const graph = new AudioContext();
  const ear = graph.audioWorklet.addModule(URL.createObjectURL(new Blob([`
    registerProcessor("onsets", class extends AudioWorkletProcessor {
      quiet = Infinity;
      process([[sound = []]]) {
        sound.forEach((value, i) => {
          this.quiet++;
          if (Math.abs(value) < ${LOUD}) return;
          if (this.quiet > ${PAUSE} * sampleRate) this.port.postMessage((currentFrame + i) / sampleRate);
          this.quiet = 0;
        });
        return true;
      }
    });`], {type: "text/javascript"})));
  const pause = ms => new Promise(done => setTimeout(done, ms));

  // Scripts make their connections themselves; this looks over their shoulders.
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...how) {
      super(...how);
      connections.push(this);
      this.addEventListener("track", ({track}) => track.kind === "audio" && listenTo(track));
    }
  };

  async function listenTo(track) {
    await ear;
    const onset = new AudioWorkletNode(graph, "onsets");
    onset.port.onmessage = ({data}) => {
      onsets.push(data);
      waiting.splice(0).forEach(done => done());
    };
    graph.createMediaStreamSource(new MediaStream([track])).connect(onset).connect(graph.destination);
  }

  // --- clocks ----------------------------------------------------------------------------------------------

  // The graph works some blocks of 128 samples ahead at a time. How far its clock is behind the page's is least just
  // after it did: that is when a microphone would have delivered those samples. getOutputTimestamp tells when the
  // browser expects a sample to leave for the loudspeaker.
  function watchClocks() {
    looks = [];
    clearInterval(looking);
    looking = setInterval(() => {
      const {contextTime, performanceTime} = graph.getOutputTimestamp();
      if (contextTime === 0) return;
      const behind = performance.now() - graph.currentTime * 1000;
      looks.push({at: graph.currentTime, behind, shift: performanceTime - contextTime * 1000});
    }, LOOK);
  }

  const middle = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
  const least = some => Math.min(...some.map(({behind}) => behind));
  const shift = some => middle(some.map(look => look.shift));

  // Times of the graph's clock (s) told in ms of the page's, for a microphone and for a loudspeaker, by the looks around
  // each: a machine that is too busy interrupts the graph, which goes on later. `error` is what that may amount to.
  function translated(times) {
    clearInterval(looking);
    const told = times.map(time => {
      const [before, after] = [looks.filter(({at}) => at > time - NEAR && at <= time),
        looks.filter(({at}) => at > time && at < time + NEAR)];
      const near = [...before, ...after];
      const unsure = before.length && after.length ? Math.abs(least(before) - least(after)) : 0;
      return {mouth: time * 1000 + least(near), ear: time * 1000 + shift(near), unsure};
    });
    return {mouth: told.map(({mouth}) => mouth), ear: told.map(({ear}) => ear),
      error: Math.max(0, ...told.map(({unsure}) => unsure))};
  }

  // --- mouth and ear ---------------------------------------------------------------------------------------

  const microphone = new MediaStreamAudioDestinationNode(graph, {channelCount: 1});

  function sound(hz, begin, end) {
    const level = new GainNode(graph, {gain: LEVEL});
    const sine = new OscillatorNode(graph, {frequency: hz});
    sine.connect(level).connect(microphone);
    sine.start(begin);
    if (end) sine.stop(end);
  }

  // A microphone delivers silence, too; without any sound this one would deliver nothing.
  sound(0, 0);

  // Say so many bursts of 100 ms; resolves when they are said, with when each began.
  async function speak(count) {
    watchClocks();
    const begin = graph.currentTime + 2 * GAP;
    const at = Array.from({length: count}, (_, n) => begin + n * (GAP + SHIFT));
    at.forEach(time => sound(1000, time, time + 0.1));
    while (graph.currentTime < at.at(-1) + GAP) await pause(20);
    const {mouth, error} = translated(at);
    return {at: mouth, error};
  }

  function hear() {
    onsets.length = 0;
    watchClocks();
  }

  // When sounds began, as heard at the loudspeaker; `buffered` is the part of it that the browser's output takes.
  function heard() {
    const {mouth, ear, error} = translated(onsets);
    return {at: ear, buffered: middle(ear.map((time, n) => time - mouth[n])), error};
  }

  // Resolves with when the first remote sound of this page's life was there.
  async function firstSound() {
    watchClocks();
    if (!onsets.length) await new Promise(done => waiting.push(done));
    await pause(NEAR * 1000);
    return translated(onsets.slice(0, 1)).ear[0];
  }

  // --- joining ---------------------------------------------------------------------------------------------

  // Enter a session, view whatever is in it and publish; resolves when the own stream is there.
  //   sound: "tone", "bursts" or "microphone"; video: whether the camera is published, in 640 x 480.
  function join({project, session, token, sound: kind, hz, video}) {
    graph.resume();
    if (kind === "tone") sound(hz, 0);
    const room = OT.initSession(project, session);
    const place = {insertMode: "append", width: 320, height: 240};
    return new Promise((done, fail) => {
      const failed = error => error && fail(new Error(`${error.name}: ${error.message}`));
      room.on("streamCreated", ({stream}) => room.subscribe(stream, "tiles", place, failed));
      room.connect(token, error => {
        if (error) return failed(error);
        const publisher = OT.initPublisher("tiles", {
          ...place,
          resolution: "640x480",
          audioSource: kind === "microphone" ? undefined : microphone.stream.getAudioTracks()[0].clone(),
          videoSource: video ? undefined : null,
        }, failed);
        publisher.on("streamCreated", () => done(room));
        room.publish(publisher, failed);
      });
    });
  }

  // Join and leave again and again; resolves with the seconds each join took.
  async function joins(count, how) {
    const took = [];
    while (took.length < count) {
      const began = performance.now();
      const room = await join(how);
      took.push((performance.now() - began) / 1000);
      const left = new Promise(done => room.on("sessionDisconnected", done));
      room.disconnect();
      await left;
    }
    return took;
  }

  // --- a relay that knows offers and answers only (aiortc_relay.py) ------------------------------------------

  async function exchange(connection, url) {
    await connection.setLocalDescription();
    while (connection.iceGatheringState !== "complete") await pause(10);
    const answer = await fetch(url, {method: "POST", body: connection.localDescription.sdp});
    if (!answer.ok) throw new Error(`the relay answers ${answer.status}`);
    await connection.setRemoteDescription({type: "answer", sdp: await answer.text()});
    while (connection.connectionState !== "connected") await pause(10);
  }

  // The sandbox's script prefers PCMU and VP8, so the relay gets the same.
  function prefer(transceiver, kind) {
    const {codecs} = RTCRtpReceiver.getCapabilities(kind);
    transceiver.setCodecPreferences(codecs.filter(({mimeType}) => ["audio/PCMU", "video/VP8"].includes(mimeType)));
  }

  async function publishTo(url, {hz, video}) {
    graph.resume();
    sound(hz, 0);
    const connection = new RTCPeerConnection();
    const camera = video ? await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480}}) : null;
    for (const track of [...microphone.stream.getTracks(), ...camera?.getTracks() ?? []]) {
      prefer(connection.addTransceiver(track, {direction: "sendonly"}), track.kind);
    }
    await exchange(connection, url);
  }

  // Chromium gives the graph a remote track's sound only while an element plays it, too.
  function show(connection) {
    const tile = document.createElement("video");
    tile.srcObject = new MediaStream();
    tile.autoplay = true;
    connection.addEventListener("track", ({track}) => tile.srcObject.addTrack(track));
    document.getElementById("tiles").append(tile);
  }

  async function viewFrom(url, video) {
    const connection = new RTCPeerConnection();
    show(connection);
    for (const kind of video ? ["audio", "video"] : ["audio"]) {
      prefer(connection.addTransceiver(kind, {direction: "recvonly"}), kind);
    }
    await exchange(connection, url);
  }

  // Let this page hear itself with no server between: what of a delay is the browser's own.
  async function hearOneself() {
    graph.resume();
    // Whom the microphone is open to is told the machine's addresses, and not names that nobody may resolve here.
    (await navigator.mediaDevices.getUserMedia({audio: true})).getTracks().forEach(track => track.stop());
    const [mouth, other] = [new RTCPeerConnection(), new RTCPeerConnection()];
    mouth.onicecandidate = ({candidate}) => candidate && other.addIceCandidate(candidate);
    other.onicecandidate = ({candidate}) => candidate && mouth.addIceCandidate(candidate);
    show(other);
    prefer(mouth.addTransceiver(microphone.stream.getAudioTracks()[0], {direction: "sendonly"}), "audio");
    await mouth.setLocalDescription();
    await other.setRemoteDescription(mouth.localDescription);
    await other.setLocalDescription();
    await mouth.setRemoteDescription(other.localDescription);
    while (other.connectionState !== "connected") await pause(10);
  }

  // --- what arrived ----------------------------------------------------------------------------------------

  // Sums over everything that this page receives: pictures decoded, the rest of its audio streams.
  async function received() {
    const sums = {streams: 0, sounding: 0, packets: 0, frames: 0, waited: 0, samples: 0};
    for (const connection of connections.filter(each => each.connectionState === "connected")) {
      for (const told of (await connection.getStats()).values()) {
        if (told.type !== "inbound-rtp") continue;
        sums.frames += told.framesDecoded ?? 0;
        if (told.kind !== "audio") continue;
        sums.streams += 1;
        sums.packets += told.packetsReceived;
        sums.waited += told.jitterBufferDelay;
        sums.samples += told.jitterBufferEmittedCount;
        sums.sounding += told.totalAudioEnergy > 0.001;
      }
    }
    return sums;
  }

  return {join, joins, speak, hear, heard, firstSound, publishTo, viewFrom, hearOneself, received};
})();
