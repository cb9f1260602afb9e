// What a publisher and a subscriber have in common: a box in the page with a picture, and a level meter.

class Boxed extends EventDispatcher {
  constructor(role, target, properties) {
    super();
    this._properties = { ...properties };
    this._peer = null;
    this._gone = false;
    this._level = new LevelWatch(this);
    this._view = new View(role, target, this._properties);
    this.id = this._view.id;
  }

  get element() {
    return this._view.element;
  }

  getImgData() {
    return this._view.picture();
  }

  getStyle() {
    return { ...this._view.style };
  }

  setStyle(style, value) {
    restyle(this._view, style, value);
    return this;
  }

  videoWidth() {
    return this._view.video?.videoWidth || undefined;
  }

  videoHeight() {
    return this._view.video?.videoHeight || undefined;
  }

  _listenersChanged(type) {
    if (type === "audioLevelUpdated") this._level.update();
  }
}
