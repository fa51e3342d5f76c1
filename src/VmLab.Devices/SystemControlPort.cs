using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// Port 0x61 of a PC: gate and output of the timer's channel 2, the speaker switch, the refresh toggle.
/// </summary>
/// <remarks>
/// Simplified: nobody hears the speaker, and there are no parity or channel errors. The gate itself is part of the
/// timer's state.
/// Source: Intel 82371AB (PIIX4) data sheet (290562), "NMI status and control register".
/// </remarks>
public sealed class SystemControlPort(IClock clock, Pit8254 pit) : IBytePortDevice, ISnapshot<SystemControlPort.State>
{
    /// <param name="Control">Bits 0 to 3 as written.</param>
    [Schema("system-control-port", version: 1)]
    public record struct State(byte Control);

    const byte Gate = 0x01, Writable = 0x0F, RefreshToggle = 0x10, Output = 0x20;
    const ulong RefreshNanoseconds = 15_085;   // 18 ticks of the timer's clock

    State _state;

    public byte Read(int offset)
    {
        if (offset != 0) return 0xFF;
        int refresh = clock.Now / RefreshNanoseconds % 2 != 0 ? RefreshToggle : 0;
        return (byte)(_state.Control | refresh | (pit.IsOutputTwoHigh ? Output : 0));
    }

    public void Write(int offset, byte value)
    {
        if (offset != 0) return;
        _state.Control = (byte)(value & Writable);
        pit.GateTwo = (value & Gate) != 0;
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;
}
