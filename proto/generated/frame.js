/*eslint-disable block-scoped-var, id-length, no-control-regex, no-magic-numbers, no-mixed-operators, no-prototype-builtins, no-redeclare, no-shadow, no-var, sort-vars, default-case, jsdoc/require-param*/
import $protobuf from "protobufjs/minimal.js";

// Common aliases
const $Reader = $protobuf.Reader, $Writer = $protobuf.Writer, $util = $protobuf.util;
const $Object = $util.global.Object, $undefined = $util.global.undefined, $Error = $util.global.Error, $RangeError = $util.global.RangeError, $TypeError = $util.global.TypeError, $Number = $util.global.Number, $parseInt = $util.global.parseInt, $String = $util.global.String, $Boolean = $util.global.Boolean, $BigInt = $util.global.BigInt, $Array = $util.global.Array;

// Exported root namespace
const $root = $protobuf.roots["default"] || ($protobuf.roots["default"] = {});

export const sluice = $root.sluice = (() => {

    /**
     * Namespace sluice.
     * @exports sluice
     * @namespace
     */
    const sluice = {};

    sluice.v1 = (function() {

        /**
         * Namespace v1.
         * @memberof sluice
         * @namespace
         */
        const v1 = {};

        v1.Frame = (function() {

            /**
             * Properties of a Frame.
             * @typedef {Object} sluice.v1.Frame.$Properties
             * @property {sluice.v1.Frame.Type|null} [type] Frame type
             * @property {number|null} [seq] Frame seq
             * @property {number|null} [ack] Frame ack
             * @property {string|null} [topic] Frame topic
             * @property {Uint8Array|null} [payload] Frame payload
             * @property {Object.<string,string>|null} [headers] Frame headers
             * @property {boolean|null} [redelivered] Frame redelivered
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */

            /**
             * Properties of a Frame.
             * @memberof sluice.v1
             * @interface IFrame
             * @augments sluice.v1.Frame.$Properties
             * @deprecated Use sluice.v1.Frame.$Properties instead.
             */

            /**
             * Shape of a Frame.
             * @typedef {sluice.v1.Frame.$Properties} sluice.v1.Frame.$Shape
             */

            /**
             * Constructs a new Frame.
             * @memberof sluice.v1
             * @classdesc Represents a Frame.
             * @constructor
             * @param {sluice.v1.Frame.$Properties=} [properties] Properties to set
             * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
             */
            const Frame = function (properties) {
                this.headers = {};
                if (properties)
                    for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                        if (properties[keys[i]] != null && keys[i] !== "__proto__")
                            this[keys[i]] = properties[keys[i]];
            };

            /**
             * Frame type.
             * @member {sluice.v1.Frame.Type} type
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.type = 0;

            /**
             * Frame seq.
             * @member {number} seq
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.seq = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * Frame ack.
             * @member {number} ack
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.ack = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

            /**
             * Frame topic.
             * @member {string} topic
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.topic = "";

            /**
             * Frame payload.
             * @member {Uint8Array} payload
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.payload = $util.newBuffer([]);

            /**
             * Frame headers.
             * @member {Object.<string,string>} headers
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.headers = $util.emptyObject;

            /**
             * Frame redelivered.
             * @member {boolean} redelivered
             * @memberof sluice.v1.Frame
             * @instance
             */
            Frame.prototype.redelivered = false;

            /**
             * Encodes the specified Frame message. Does not implicitly {@link sluice.v1.Frame.verify|verify} messages.
             * @function encode
             * @memberof sluice.v1.Frame
             * @static
             * @param {sluice.v1.Frame.$Properties} message Frame message or plain object to encode
             * @param {$protobuf.Writer} [writer] Writer to encode to
             * @returns {$protobuf.Writer} Writer
             */
            Frame.encode = function (message, writer, _depth) {
                if (!writer)
                    writer = $Writer.create();
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                if (message.type != null && $Object.hasOwnProperty.call(message, "type") && message.type !== 0)
                    writer.uint32(/* id 1, wireType 0 =*/8).int32(message.type);
                if (message.seq != null && $Object.hasOwnProperty.call(message, "seq") && (typeof message.seq === "object" ? message.seq.low || message.seq.high : message.seq !== 0))
                    writer.uint32(/* id 2, wireType 0 =*/16).uint64(message.seq);
                if (message.ack != null && $Object.hasOwnProperty.call(message, "ack") && (typeof message.ack === "object" ? message.ack.low || message.ack.high : message.ack !== 0))
                    writer.uint32(/* id 3, wireType 0 =*/24).uint64(message.ack);
                if (message.topic != null && $Object.hasOwnProperty.call(message, "topic") && message.topic !== "")
                    writer.uint32(/* id 4, wireType 2 =*/34).string(message.topic);
                if (message.payload != null && $Object.hasOwnProperty.call(message, "payload") && message.payload.length)
                    writer.uint32(/* id 5, wireType 2 =*/42).bytes(message.payload);
                if (message.headers != null && $Object.hasOwnProperty.call(message, "headers"))
                    for (let keys = $Object.keys(message.headers), i = 0; i < keys.length; ++i)
                        writer.uint32(/* id 6, wireType 2 =*/50).fork().uint32(/* id 1, wireType 2 =*/10).string(keys[i]).uint32(/* id 2, wireType 2 =*/18).string(message.headers[keys[i]]).ldelim();
                if (message.redelivered != null && $Object.hasOwnProperty.call(message, "redelivered") && message.redelivered !== false)
                    writer.uint32(/* id 7, wireType 0 =*/56).bool(message.redelivered);
                if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                    for (let i = 0; i < message.$unknowns.length; ++i)
                        writer.raw(message.$unknowns[i]);
                return writer;
            };

            /**
             * Decodes a Frame message from the specified reader or buffer.
             * @function decode
             * @memberof sluice.v1.Frame
             * @static
             * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
             * @param {number} [length] Message length if known beforehand
             * @returns {sluice.v1.Frame & sluice.v1.Frame.$Shape} Frame
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            Frame.decode = function (reader, length, _end, _depth, _target) {
                if (!(reader instanceof $Reader))
                    reader = $Reader.create(reader);
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $Reader.recursionLimit)
                    throw $Error("max depth exceeded");
                let end, message, key, value;
                if (length === $undefined)
                    end = reader.len;
                else {
                    end = reader.pos + length;
                    if (end > reader.len)
                        throw $RangeError("index out of range");
                    length = reader.len;
                    reader.len = end;
                }
                message = _target || new $root.sluice.v1.Frame();
                while (reader.pos < end) {
                    let start = reader.pos;
                    let tag = reader.tag();
                    if (tag === _end) {
                        _end = $undefined;
                        break;
                    }
                    let wireType = tag & 7;
                    switch (tag >>>= 3) {
                    case 1: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.int32())
                                message.type = value;
                            else
                                delete message.type;
                            continue;
                        }
                    case 2: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.seq = value;
                            else
                                delete message.seq;
                            continue;
                        }
                    case 3: {
                            if (wireType !== 0)
                                break;
                            if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                                message.ack = value;
                            else
                                delete message.ack;
                            continue;
                        }
                    case 4: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.stringVerify()).length)
                                message.topic = value;
                            else
                                delete message.topic;
                            continue;
                        }
                    case 5: {
                            if (wireType !== 2)
                                break;
                            if ((value = reader.bytes()).length)
                                message.payload = value;
                            else
                                delete message.payload;
                            continue;
                        }
                    case 6: {
                            if (wireType !== 2)
                                break;
                            if (message.headers === $util.emptyObject)
                                message.headers = {};
                            let end2 = reader.size() + reader.pos;
                            if (end2 > reader.len)
                                throw $RangeError("index out of range");
                            reader.len = end2;
                            key = "";
                            value = "";
                            while (reader.pos < end2) {
                                let tag2 = reader.tag();
                                wireType = tag2 & 7;
                                switch (tag2 >>>= 3) {
                                case 1:
                                    if (wireType !== 2)
                                        break;
                                    key = reader.stringVerify();
                                    continue;
                                case 2:
                                    if (wireType !== 2)
                                        break;
                                    value = reader.stringVerify();
                                    continue;
                                }
                                reader.skipType(wireType, _depth, tag2);
                            }
                            if (reader.pos !== end2)
                                throw $RangeError("index out of range");
                            reader.len = end;
                            if (key === "__proto__")
                                $util.makeProp(message.headers, key);
                            message.headers[key] = value;
                            continue;
                        }
                    case 7: {
                            if (wireType !== 0)
                                break;
                            if (value = reader.bool())
                                message.redelivered = value;
                            else
                                delete message.redelivered;
                            continue;
                        }
                    }
                    reader.skipType(wireType, _depth, tag);
                    if (!reader.discardUnknown) {
                        $util.makeProp(message, "$unknowns", false);
                        (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                    }
                }
                if (length !== $undefined) {
                    if (reader.pos !== end)
                        throw $RangeError("index out of range");
                    reader.len = length;
                }
                if (_end !== $undefined)
                    throw $Error("missing end group");
                return message;
            };

            /**
             * Creates a Frame message from a plain object. Also converts values to their respective internal types.
             * @function fromObject
             * @memberof sluice.v1.Frame
             * @static
             * @param {Object.<string,*>} object Plain object
             * @returns {sluice.v1.Frame} Frame
             */
            Frame.fromObject = function (object, _depth) {
                if (object instanceof $root.sluice.v1.Frame)
                    return object;
                if (!$util.isObject(object))
                    throw $TypeError(".sluice.v1.Frame: object expected");
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let message = new $root.sluice.v1.Frame();
                if (object.type !== 0 && (typeof object.type !== "string" || $root.sluice.v1.Frame.Type[object.type] !== 0))
                    switch (object.type) {
                    case "DATA":
                    case 0:
                        message.type = 0;
                        break;
                    case "PUBLISH":
                    case 1:
                        message.type = 1;
                        break;
                    case "SUBSCRIBE":
                    case 2:
                        message.type = 2;
                        break;
                    case "UNSUBSCRIBE":
                    case 3:
                        message.type = 3;
                        break;
                    case "ACK":
                    case 4:
                        message.type = 4;
                        break;
                    case "WELCOME":
                    case 5:
                        message.type = 5;
                        break;
                    case "GOAWAY":
                    case 6:
                        message.type = 6;
                        break;
                    case "ERROR":
                    case 7:
                        message.type = 7;
                        break;
                    default:
                        if (typeof object.type === "number" && (object.type | 0) === object.type)
                            message.type = object.type;
                    }
                if (object.seq != null)
                    if (typeof object.seq === "object" ? object.seq.low || object.seq.high : $Number(object.seq) !== 0)
                        if ($util.Long)
                            message.seq = $util.Long.fromValue(object.seq, true);
                        else if (typeof object.seq === "string")
                            message.seq = $parseInt(object.seq, 10);
                        else if (typeof object.seq === "number")
                            message.seq = object.seq;
                        else if (typeof object.seq === "object")
                            message.seq = new $util.LongBits(object.seq.low >>> 0, object.seq.high >>> 0).toNumber(true);
                if (object.ack != null)
                    if (typeof object.ack === "object" ? object.ack.low || object.ack.high : $Number(object.ack) !== 0)
                        if ($util.Long)
                            message.ack = $util.Long.fromValue(object.ack, true);
                        else if (typeof object.ack === "string")
                            message.ack = $parseInt(object.ack, 10);
                        else if (typeof object.ack === "number")
                            message.ack = object.ack;
                        else if (typeof object.ack === "object")
                            message.ack = new $util.LongBits(object.ack.low >>> 0, object.ack.high >>> 0).toNumber(true);
                if (object.topic != null)
                    if (typeof object.topic !== "string" || object.topic.length)
                        message.topic = $String(object.topic);
                if (object.payload != null)
                    if (object.payload.length)
                        if (typeof object.payload === "string")
                            $util.base64.decode(object.payload, message.payload = $util.newBuffer($util.base64.length(object.payload)), 0);
                        else if (object.payload.length >= 0)
                            message.payload = object.payload;
                if (object.headers) {
                    if (!$util.isObject(object.headers))
                        throw $TypeError(".sluice.v1.Frame.headers: object expected");
                    message.headers = {};
                    for (let keys = $Object.keys(object.headers), i = 0; i < keys.length; ++i) {
                        if (keys[i] === "__proto__")
                            $util.makeProp(message.headers, keys[i]);
                        message.headers[keys[i]] = $String(object.headers[keys[i]]);
                    }
                }
                if (object.redelivered != null)
                    if (object.redelivered)
                        message.redelivered = $Boolean(object.redelivered);
                return message;
            };

            /**
             * Creates a plain object from a Frame message. Also converts values to other types if specified.
             * @function toObject
             * @memberof sluice.v1.Frame
             * @static
             * @param {sluice.v1.Frame} message Frame
             * @param {$protobuf.IConversionOptions} [options] Conversion options
             * @returns {Object.<string,*>} Plain object
             */
            Frame.toObject = function (message, options, _depth) {
                if (!options)
                    options = {};
                if (_depth === $undefined)
                    _depth = 0;
                if (_depth > $util.recursionLimit)
                    throw $Error("max depth exceeded");
                let object = {};
                if (options.objects || options.defaults)
                    object.headers = {};
                if (options.defaults) {
                    object.type = options.enums === $String ? "DATA" : 0;
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.seq = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.seq = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    if ($util.Long) {
                        let long = new $util.Long(0, 0, true);
                        object.ack = options.longs === $String ? long.toString() : options.longs === $Number ? long.toNumber() : typeof $BigInt !== "undefined" && options.longs === $BigInt ? long.toBigInt() : long;
                    } else
                        object.ack = options.longs === $String ? "0" : typeof $BigInt !== "undefined" && options.longs === $BigInt ? $BigInt("0") : 0;
                    object.topic = "";
                    if (options.bytes === $String)
                        object.payload = "";
                    else {
                        object.payload = [];
                        if (options.bytes !== $Array)
                            object.payload = $util.newBuffer(object.payload);
                    }
                    object.redelivered = false;
                }
                if (message.type != null && $Object.hasOwnProperty.call(message, "type"))
                    object.type = options.enums === $String ? $root.sluice.v1.Frame.Type[message.type] === $undefined ? message.type : $root.sluice.v1.Frame.Type[message.type] : message.type;
                if (message.seq != null && $Object.hasOwnProperty.call(message, "seq"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.seq = typeof message.seq === "number" ? $BigInt(message.seq) : $util.Long.fromBits(message.seq.low >>> 0, message.seq.high >>> 0, true).toBigInt();
                    else if (typeof message.seq === "number")
                        object.seq = options.longs === $String ? $String(message.seq) : message.seq;
                    else
                        object.seq = options.longs === $String ? $util.Long.prototype.toString.call(message.seq) : options.longs === $Number ? new $util.LongBits(message.seq.low >>> 0, message.seq.high >>> 0).toNumber(true) : message.seq;
                if (message.ack != null && $Object.hasOwnProperty.call(message, "ack"))
                    if (typeof $BigInt !== "undefined" && options.longs === $BigInt)
                        object.ack = typeof message.ack === "number" ? $BigInt(message.ack) : $util.Long.fromBits(message.ack.low >>> 0, message.ack.high >>> 0, true).toBigInt();
                    else if (typeof message.ack === "number")
                        object.ack = options.longs === $String ? $String(message.ack) : message.ack;
                    else
                        object.ack = options.longs === $String ? $util.Long.prototype.toString.call(message.ack) : options.longs === $Number ? new $util.LongBits(message.ack.low >>> 0, message.ack.high >>> 0).toNumber(true) : message.ack;
                if (message.topic != null && $Object.hasOwnProperty.call(message, "topic"))
                    object.topic = message.topic;
                if (message.payload != null && $Object.hasOwnProperty.call(message, "payload"))
                    object.payload = options.bytes === $String ? $util.base64.encode(message.payload, 0, message.payload.length) : options.bytes === $Array ? $Array.prototype.slice.call(message.payload) : message.payload;
                let keys2;
                if (message.headers && (keys2 = $Object.keys(message.headers)).length) {
                    object.headers = {};
                    for (let j = 0; j < keys2.length; ++j) {
                        if (keys2[j] === "__proto__")
                            $util.makeProp(object.headers, keys2[j]);
                        object.headers[keys2[j]] = message.headers[keys2[j]];
                    }
                }
                if (message.redelivered != null && $Object.hasOwnProperty.call(message, "redelivered"))
                    object.redelivered = message.redelivered;
                return object;
            };

            /**
             * Converts this Frame to JSON.
             * @function toJSON
             * @memberof sluice.v1.Frame
             * @instance
             * @returns {Object.<string,*>} JSON object
             */
            Frame.prototype.toJSON = function() {
                return Frame.toObject(this, $protobuf.util.toJSONOptions);
            };

            /**
             * Gets the type url for Frame
             * @function getTypeUrl
             * @memberof sluice.v1.Frame
             * @static
             * @param {string} [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns {string} The type url
             */
            Frame.getTypeUrl = function(prefix) {
                if (prefix === $undefined)
                    prefix = "type.googleapis.com";
                return prefix + "/sluice.v1.Frame";
            };

            /**
             * Type enum.
             * @name sluice.v1.Frame.Type
             * @enum {number}
             * @property {number} DATA=0 DATA value
             * @property {number} PUBLISH=1 PUBLISH value
             * @property {number} SUBSCRIBE=2 SUBSCRIBE value
             * @property {number} UNSUBSCRIBE=3 UNSUBSCRIBE value
             * @property {number} ACK=4 ACK value
             * @property {number} WELCOME=5 WELCOME value
             * @property {number} GOAWAY=6 GOAWAY value
             * @property {number} ERROR=7 ERROR value
             */
            Frame.Type = (function() {
                const valuesById = $Object.create(null), values = $Object.create(valuesById);
                values[valuesById[0] = "DATA"] = 0;
                values[valuesById[1] = "PUBLISH"] = 1;
                values[valuesById[2] = "SUBSCRIBE"] = 2;
                values[valuesById[3] = "UNSUBSCRIBE"] = 3;
                values[valuesById[4] = "ACK"] = 4;
                values[valuesById[5] = "WELCOME"] = 5;
                values[valuesById[6] = "GOAWAY"] = 6;
                values[valuesById[7] = "ERROR"] = 7;
                return values;
            })();

            return Frame;
        })();

        return v1;
    })();

    return sluice;
})();

export {
  $root as default
};
