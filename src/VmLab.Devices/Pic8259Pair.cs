using VmLab.Core;

namespace VmLab.Devices;

/// <summary>The two 8259s of a PC: sixteen inputs, the slave wired to input 2 of the master.</summary>
/// <remarks>
/// Source: Intel 8259A data sheet (231468), "Cascade mode"; Intel 82371AB (PIIX4) data sheet (290562), "ELCR1,
/// ELCR2".
/// </remarks>
public sealed class Pic8259Pair : ISnapshot<Pic8259Pair.State>
{
    [Schema("pic8259-pair", version: 1)]
    public record struct State(Pic8259.State Master, Pic8259.State Slave);

    const int CascadeInput = 2;

    readonly Pic8259 _master = new(cascade: 1 << CascadeInput), _slave;

    public Pic8259Pair()
    {
        _slave = new Pic8259(cascade: 0, DriveCascade);
        TriggerControl = new EdgeLevelRegisters(_master, _slave);
    }

    /// <summary>Two ports, at 0x20 on a PC.</summary>
    public IPortDevice Master => _master;

    /// <summary>Two ports, at 0xA0 on a PC.</summary>
    public IPortDevice Slave => _slave;

    /// <summary>Two ports, at 0x4D0 on a PC: which inputs ask by level.</summary>
    public IPortDevice TriggerControl { get; }

    /// <summary>The master's INT output.</summary>
    public bool IsRequested => _master.IsRequested;

    /// <summary>
    /// Takes the most urgent request into service and returns its vector: that of input 7 or 15 when it is spurious.
    /// </summary>
    public byte Acknowledge()
    {
        bool isRequested = _master.IsRequested;
        int input = _master.Acknowledge();
        if (!isRequested || input != CascadeInput) return (byte)(_master.FirstVector + input);
        byte vector = (byte)(_slave.FirstVector + _slave.Acknowledge());
        // INT falls between acknowledge cycles, so what still waits is a new edge.
        _master.SetInput(CascadeInput, false);
        DriveCascade();
        return vector;
    }

    /// <param name="input">0 to 15; the cascade, 2, cannot be reached from outside.</param>
    public void SetInput(int input, bool high)
    {
        if (input == CascadeInput) return;
        (input < 8 ? _master : _slave).SetInput(input & 7, high);
    }

    public State Save() => new(_master.Save(), _slave.Save());

    public void Restore(State state)
    {
        _master.Restore(state.Master);
        _slave.Restore(state.Slave);
    }

    void DriveCascade() => _master.SetInput(CascadeInput, _slave.IsRequested);

    // The timer, the keyboard, the cascade, the clock and the coprocessor ask by edge, whatever is written.
    sealed class EdgeLevelRegisters(Pic8259 master, Pic8259 slave) : IBytePortDevice
    {
        const byte MasterChoice = 0xF8, SlaveChoice = 0xDE;

        public byte Read(int offset) => offset switch
        {
            0 => master.LevelTriggered,
            1 => slave.LevelTriggered,
            _ => 0xFF,
        };

        public void Write(int offset, byte value)
        {
            if (offset == 0) master.LevelTriggered = (byte)(value & MasterChoice);
            else if (offset == 1) slave.LevelTriggered = (byte)(value & SlaveChoice);
        }
    }
}
