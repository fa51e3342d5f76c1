using VmLab.Core;

namespace VmLab.Devices;

/// <summary>The I/O APIC: 24 pins, each with an entry that says which interrupt it is, and whose.</summary>
/// <remarks>
/// Simplified: a pin is fed its logical level, so the polarity bit changes nothing; ExtINT and SMI entries deliver
/// nothing; an edge on a masked pin is lost. Source: Intel 82093AA data sheet (290566); version 0x20 with the EOI
/// register as in Intel I/O controller hubs (ICH9 data sheet 316972, §13.5.7).
/// </remarks>
public sealed class IoApic : IMmioDevice, ISnapshot<IoApic.State>
{
    public const int PinCount = 24;

    /// <param name="Select">Which register the window shows.</param>
    /// <param name="Entries">
    /// The redirection table, without what is reported live: delivery status and remote IRR.
    /// </param>
    /// <param name="Lines">Levels of the pins.</param>
    /// <param name="RemoteIrr">Level-triggered pins whose interrupt was taken and not yet ended.</param>
    [Schema("io-apic", version: 1)]
    public record struct State(byte Select, byte Identifier, Values<ulong> Entries, uint Lines, uint RemoteIrr);

    const ulong SelectOffset = 0x00, WindowOffset = 0x10, EndOffset = 0x40;
    const int IdentifierIndex = 0, VersionIndex = 1, ArbitrationIndex = 2, FirstEntryIndex = 0x10;
    const uint VersionValue = (PinCount - 1) << 16 | 0x20;
    const ulong Level = 0x8000, Masked = 0x1_0000, Logical = 0x800, RemoteIrrBit = 0x4000;
    const ulong Writable = 0xFF00_0000_0001_AFFF;

    readonly ApicBus _bus;
    State _state = new() { Entries = Values.Repeat(Masked, PinCount) };

    /// <param name="id">The identifier after power-on, 0 to 15; it names the chip and decides nothing.</param>
    public IoApic(ApicBus bus, byte id = 0)
    {
        _bus = bus;
        _state.Identifier = id;
        bus.Join(this);
    }

    /// <param name="pin">0 to 23.</param>
    public void SetPin(int pin, bool high)
    {
        uint bit = 1U << pin;
        if ((_state.Lines & bit) != 0 == high) return;
        _state.Lines ^= bit;
        if (high) Serve(pin);
    }

    /// <summary>A local APIC has served a level-triggered interrupt: pins that are still high ask again.</summary>
    public void EndOfInterrupt(byte vector)
    {
        for (int pin = 0; pin < PinCount; pin++)
        {
            if ((_state.RemoteIrr >> pin & 1) == 0 || (byte)_state.Entries[pin] != vector) continue;
            _state.RemoteIrr &= ~(1U << pin);
            Serve(pin);
        }
    }

    public ulong Read(ulong offset, int width) => (offset & ~3UL) switch
    {
        SelectOffset => (ulong)_state.Select >> (int)(offset & 3) * 8,
        WindowOffset => (ulong)ReadRegister() >> (int)(offset & 3) * 8,
        _ => 0,
    };

    public void Write(ulong offset, int width, ulong value)
    {
        if (offset == SelectOffset) _state.Select = (byte)value;
        else if (width < 4) return;
        else if (offset == WindowOffset) WriteRegister((uint)value);
        else if (offset == EndOffset) EndOfInterrupt((byte)value);
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    int SelectedPin => _state.Select - FirstEntryIndex >> 1;

    bool SelectsEntry => _state.Select is >= FirstEntryIndex and < FirstEntryIndex + 2 * PinCount;

    uint ReadRegister()
    {
        if (SelectsEntry)
        {
            ulong entry = _state.Entries[SelectedPin] | ((_state.RemoteIrr >> SelectedPin & 1) != 0 ? RemoteIrrBit : 0);
            return (uint)(entry >> 32 * (_state.Select & 1));
        }
        return _state.Select switch
        {
            IdentifierIndex or ArbitrationIndex => (uint)_state.Identifier << 24,
            VersionIndex => VersionValue,
            _ => 0,
        };
    }

    void WriteRegister(uint value)
    {
        if (_state.Select == IdentifierIndex) _state.Identifier = (byte)(value >> 24 & 0xF);
        if (!SelectsEntry) return;
        int pin = SelectedPin, shift = 32 * (_state.Select & 1);
        ulong entry = _state.Entries[pin] & ~(0xFFFF_FFFFUL << shift) | (ulong)value << shift;
        _state.Entries = _state.Entries.With(pin, entry & Writable);
        if ((entry & Level) == 0) _state.RemoteIrr &= ~(1U << pin);   // to be edge-triggered is to owe nothing
        else Serve(pin);
    }

    // Called when a pin rises, and when a level-triggered one may ask again.
    void Serve(int pin)
    {
        ulong entry = _state.Entries[pin];
        uint bit = 1U << pin;
        bool isLevel = (entry & Level) != 0;
        if ((entry & Masked) != 0 || (_state.Lines & bit) == 0 || isLevel && (_state.RemoteIrr & bit) != 0) return;
        bool isTaken = _bus.Deliver(new ApicMessage(
            ApicMessage.Widen((byte)(entry >> 56)), (entry & Logical) != 0, (DeliveryMode)(entry >> 8 & 7), (byte)entry,
            isLevel));
        if (isLevel && isTaken) _state.RemoteIrr |= bit;
    }
}
