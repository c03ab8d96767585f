import * as $protobuf from "protobufjs";
type Long = never;

/** Namespace sluice. */
export namespace sluice {

    /** Namespace v1. */
    namespace v1 {

        /**
         * Properties of a Frame.
         * @deprecated Use sluice.v1.Frame.$Properties instead.
         */
        interface IFrame extends sluice.v1.Frame.$Properties {
        }

        /** Represents a Frame. */
        class Frame {

            /**
             * Constructs a new Frame.
             * @param [properties] Properties to set
             */
            constructor(properties?: sluice.v1.Frame.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Frame type. */
            type: sluice.v1.Frame.Type;

            /** Frame seq. */
            seq: number;

            /** Frame ack. */
            ack: number;

            /** Frame topic. */
            topic: string;

            /** Frame payload. */
            payload: Uint8Array;

            /** Frame headers. */
            headers: { [k: string]: string };

            /** Frame redelivered. */
            redelivered: boolean;

            /**
             * Encodes the specified Frame message. Does not implicitly {@link sluice.v1.Frame.verify|verify} messages.
             * @param message Frame message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: sluice.v1.Frame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Frame message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {sluice.v1.Frame & sluice.v1.Frame.$Shape} Frame
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): sluice.v1.Frame & sluice.v1.Frame.$Shape;

            /**
             * Creates a Frame message from a plain object. Also converts values to their respective internal types.
             * @param object Plain object
             * @returns Frame
             */
            static fromObject(object: { [k: string]: any }): sluice.v1.Frame;

            /**
             * Creates a plain object from a Frame message. Also converts values to other types if specified.
             * @param message Frame
             * @param [options] Conversion options
             * @returns Plain object
             */
            static toObject(message: sluice.v1.Frame, options?: $protobuf.IConversionOptions): { [k: string]: any };

            /**
             * Converts this Frame to JSON.
             * @returns JSON object
             */
            toJSON(): { [k: string]: any };

            /**
             * Gets the type url for Frame
             * @param [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns The type url
             */
            static getTypeUrl(prefix?: string): string;
        }

        namespace Frame {

            /** Properties of a Frame. */
            interface $Properties {

                /** Frame type */
                type?: (sluice.v1.Frame.Type|null);

                /** Frame seq */
                seq?: (number|null);

                /** Frame ack */
                ack?: (number|null);

                /** Frame topic */
                topic?: (string|null);

                /** Frame payload */
                payload?: (Uint8Array|null);

                /** Frame headers */
                headers?: ({ [k: string]: string }|null);

                /** Frame redelivered */
                redelivered?: (boolean|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Frame. */
            type $Shape = sluice.v1.Frame.$Properties;

            /** Type enum. */
            enum Type {

                /** DATA value */
                DATA = 0,

                /** PUBLISH value */
                PUBLISH = 1,

                /** SUBSCRIBE value */
                SUBSCRIBE = 2,

                /** UNSUBSCRIBE value */
                UNSUBSCRIBE = 3,

                /** ACK value */
                ACK = 4,

                /** WELCOME value */
                WELCOME = 5,

                /** GOAWAY value */
                GOAWAY = 6,

                /** ERROR value */
                ERROR = 7
            }
        }
    }
}
