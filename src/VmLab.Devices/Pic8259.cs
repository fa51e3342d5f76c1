using System.Numerics;
using VmLab.Core;

namespace VmLab.Devices;

/// <summary>One 8259A interrupt controller: eight inputs, a priority resolver, one output.</summary>
/// <remarks>
/// Simplified: 8086 mode only; ICW3 is taken and ignored, since a PC's wiring is fixed; the level-trigger bit of ICW1
/// gives way to the edge/level register, as in PC chip sets. Source: Intel 8259A data sheet (231468), "Programming
/// the 8259A".
/// </remarks>
/// <param name="cascade">The inputs, as bits, that other 8259s are wired to; 0 for a slave.</param>
/// <param name="changed">Told after everything that may have moved the output.</param>
public sealed class Pic8259(byte cascade, Action? changed = null) : IBytePortDevice, ISnapshot<Pic8259.State>
{
    /// <param name="Lines">Levels of the inputs.</param>
    /// <param name="Edges">Inputs that rose, stayed high, and were not yet acknowledged.</param>
    /// <param name="LevelTriggered">The edge/level register: inputs that ask by level.</param>
    /// <param name="FirstVector">Of input 0; a multiple of 8.</param>
    /// <param name="LowestPriority">The input of lowest priority; 7 unless rotated.</param>
    [Schema("pic8259", version: 1)]
    public readonly record struct State(
        byte Lines, byte Edges, byte InService, byte Mask, byte LevelTriggered, byte FirstVector, byte LowestPriority,
        Expected Expected, Modes Modes);

    /// <summary>What the next write to the second port means.</summary>
    public enum Expected : byte { Mask, FirstVector, Wiring, Modes }

    [Flags]
    public enum Modes : byte
    {
        None = 0, AutoEnd = 1, RotateOnAutoEnd = 2, SpecialMask = 4, SpecialFullyNested = 8,
        ReadsInService = 16, Polled = 32, Single = 64, WantsIcw4 = 128,
    }

    const int NoPriority = 8, SpuriousInput = 7;
    const byte Icw1 = 0x10, Ocw3 = 0x08;

    State _state = new() { LowestPriority = 7 };

    /// <summary>The INT output.</summary>
    public bool IsRequested => PriorityOf(Candidates) < PriorityOf(Blocking);

    public byte FirstVector => _state.FirstVector;

    /// <summary>The edge/level register at ports 0x4D0 and 0x4D1: inputs that ask by level.</summary>
    public byte LevelTriggered
    {
        get => _state.LevelTriggered;
        set => Become(_state with { LevelTriggered = value });
    }

    int Requests => _state.Edges & ~_state.LevelTriggered | _state.Lines & _state.LevelTriggered;

    int Candidates => Requests & ~_state.Mask;

    // Inputs in service keep out their equals and inferiors.
    int Blocking
    {
        get
        {
            int blocking = _state.InService;
            if (Has(Modes.SpecialMask)) blocking &= ~_state.Mask;
            if (Has(Modes.SpecialFullyNested)) blocking &= ~cascade;
            return blocking;
        }
    }

    public void SetInput(int input, bool high)
    {
        int bit = 1 << input;
        bool wasHigh = (_state.Lines & bit) != 0;
        if (high == wasHigh) return;
        Become(high
            ? _state with { Lines = (byte)(_state.Lines | bit), Edges = (byte)(_state.Edges | bit) }
            : _state with { Lines = (byte)(_state.Lines & ~bit), Edges = (byte)(_state.Edges & ~bit) });
    }

    /// <summary>Takes the request of highest priority into service.</summary>
    /// <returns>Its input; or 7, with nothing in service, when there is none: a spurious interrupt.</returns>
    public int Acknowledge()
    {
        if (!IsRequested) return SpuriousInput;
        int input = InputOf(PriorityOf(Candidates));
        int bit = 1 << input;
        State next = _state with { Edges = (byte)(_state.Edges & ~bit) };
        if (!Has(Modes.AutoEnd)) next = next with { InService = (byte)(next.InService | bit) };
        else if (Has(Modes.RotateOnAutoEnd)) next = next with { LowestPriority = (byte)input };
        Become(next);
        return input;
    }

    public byte Read(int offset)
    {
        if (offset is not (0 or 1)) return 0xFF;
        if (Has(Modes.Polled)) return Poll();
        if (offset == 1) return _state.Mask;
        return Has(Modes.ReadsInService) ? _state.InService : (byte)Requests;
    }

    public void Write(int offset, byte value)
    {
        if (offset == 0 && (value & Icw1) != 0) Initialize(value);
        else if (offset == 0 && (value & Ocw3) != 0) SetReading(value);
        else if (offset == 0) EndOfInterrupt(value);
        else if (offset == 1) WriteSecond(value);
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    void Become(State next)
    {
        _state = next;
        changed?.Invoke();
    }

    bool Has(Modes mode) => (_state.Modes & mode) != 0;

    /// <summary>Priority of the most urgent of some inputs, 0 the highest, or 8 when there is none.</summary>
    int PriorityOf(int inputs)
    {
        int rotated = (inputs | inputs << 8) >> (_state.LowestPriority + 1) & 0xFF;
        return rotated == 0 ? NoPriority : BitOperations.TrailingZeroCount(rotated);
    }

    int InputOf(int priority) => (priority + _state.LowestPriority + 1) & 7;

    byte Poll()
    {
        _state = _state with { Modes = _state.Modes & ~Modes.Polled };
        return IsRequested ? (byte)(0x80 | Acknowledge()) : (byte)0;
    }

    void Initialize(byte icw1) => Become(new State
    {
        Lines = _state.Lines,
        LevelTriggered = _state.LevelTriggered,
        FirstVector = _state.FirstVector,
        LowestPriority = 7,
        Expected = Expected.FirstVector,
        Modes = ((icw1 & 1) != 0 ? Modes.WantsIcw4 : 0) | ((icw1 & 2) != 0 ? Modes.Single : 0),
    });

    void WriteSecond(byte value)
    {
        Become(_state.Expected switch
        {
            Expected.Mask => _state with { Mask = value },
            Expected.FirstVector => _state with { FirstVector = (byte)(value & 0xF8), Expected = AfterFirstVector },
            Expected.Wiring => _state with { Expected = AfterWiring },
            _ => _state with { Modes = _state.Modes | ModesOf(value), Expected = Expected.Mask },
        });
    }

    Expected AfterFirstVector => Has(Modes.Single) ? AfterWiring : Expected.Wiring;

    Expected AfterWiring => Has(Modes.WantsIcw4) ? Expected.Modes : Expected.Mask;

    static Modes ModesOf(byte icw4) =>
        ((icw4 & 0x02) != 0 ? Modes.AutoEnd : 0) | ((icw4 & 0x10) != 0 ? Modes.SpecialFullyNested : 0);

    // OCW2: rotate, specific, end of interrupt.
    void EndOfInterrupt(byte ocw2)
    {
        bool rotates = (ocw2 & 0x80) != 0, isSpecific = (ocw2 & 0x40) != 0, ends = (ocw2 & 0x20) != 0;
        if (!isSpecific && !ends) Become(_state with { Modes = Set(Modes.RotateOnAutoEnd, rotates) });
        else if (!ends) Become(rotates ? _state with { LowestPriority = (byte)(ocw2 & 7) } : _state);
        else End(isSpecific ? ocw2 & 7 : InputOf(PriorityOf(Blocking)), rotates, isKnown: isSpecific || Blocking != 0);
    }

    void End(int input, bool rotates, bool isKnown)
    {
        if (!isKnown) return;
        Become(_state with
        {
            InService = (byte)(_state.InService & ~(1 << input)),
            LowestPriority = rotates ? (byte)input : _state.LowestPriority,
        });
    }

    // OCW3: special mask, poll, which register reads.
    void SetReading(byte ocw3)
    {
        Modes modes = _state.Modes;
        if ((ocw3 & 0x40) != 0) modes = Set(Modes.SpecialMask, (ocw3 & 0x20) != 0);
        if ((ocw3 & 0x04) != 0) modes |= Modes.Polled;
        if ((ocw3 & 0x02) != 0) modes = modes & ~Modes.ReadsInService | ((ocw3 & 1) != 0 ? Modes.ReadsInService : 0);
        Become(_state with { Modes = modes });
    }

    Modes Set(Modes mode, bool on) => on ? _state.Modes | mode : _state.Modes & ~mode;
}
