using VmLab.Core;

namespace VmLab.Devices;

/// <summary>How much of a machine starts anew.</summary>
public enum ResetKind : byte
{
    /// <summary>The processor only (INIT).</summary>
    Soft,

    /// <summary>Processor and chip set.</summary>
    Hard,

    /// <summary>As if the power had gone and come.</summary>
    Full,
}

/// <summary>The reset control register at port 0xCF9, which ACPI's FADT names.</summary>
/// <remarks>Source: Intel ICH9 data sheet (316972), §13.7.5 "RST_CNT"; value 0x06 is a hard reset.</remarks>
public sealed class ResetRegister(Action<ResetKind> reset) : IBytePortDevice, ISnapshot<ResetRegister.State>
{
    [Schema("reset-register", version: 1)]
    public record struct State(byte Control);

    const byte Hard = 0x02, Go = 0x04, Full = 0x08, Writable = Hard | Go | Full;

    State _state;

    public byte Read(int offset) => offset == 0 ? _state.Control : (byte)0xFF;

    public void Write(int offset, byte value)
    {
        if (offset != 0) return;
        bool goes = (value & ~_state.Control & Go) != 0;
        _state.Control = (byte)(value & Writable);
        if (goes) reset((value & Hard) == 0 ? ResetKind.Soft : (value & Full) == 0 ? ResetKind.Hard : ResetKind.Full);
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;
}
