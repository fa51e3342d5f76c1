using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// The 8042 keyboard controller of a PC, with nothing plugged into it; what still matters is its reset line.
/// </summary>
/// <remarks>
/// Every command that owes an answer gives one at once, so that no driver waits for a time-out: a byte sent to the
/// absent keyboard or mouse comes back as 0xFE with the time-out bit, the keyboard's wires test well, and the mouse's
/// do not, which tells drivers that there is no mouse port. A20 is kept and does nothing.
/// Source: Intel 8742 data sheet (290256); IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary
/// device controller".
/// </remarks>
public sealed class Keyboard8042 : ISnapshot<Keyboard8042.State>, IDrivesLines
{
    /// <param name="Config">The command byte.</param>
    /// <param name="Command">The command that waits for its parameter, or 0.</param>
    /// <param name="Output">The byte that waits to be read.</param>
    /// <param name="Status">The status register.</param>
    [Schema("keyboard-8042", version: 1)]
    public record struct State(byte Config, byte OutputPort, byte Command, byte Output, byte Status);

    // Status register: full, system flag, last write was a command, not locked, time-out.
    const byte OutputFull = 0x01, SystemFlag = 0x04, WasCommand = 0x08, NotLocked = 0x10, TimedOut = 0x40;

    const byte KeyboardInterrupt = 0x01, KeyboardOff = 0x10, AuxiliaryOff = 0x20, Translate = 0x40;   // command byte
    const byte NotReset = 0x01, A20 = 0x02;                                                           // output port

    const byte ReadConfig = 0x20, WriteConfig = 0x60, TestAuxiliary = 0xA9, SelfTest = 0xAA, TestKeyboard = 0xAB,
               DisableKeyboard = 0xAD, EnableKeyboard = 0xAE, ReadInputPort = 0xC0, ReadOutputPort = 0xD0,
               WriteOutputPort = 0xD1, WriteKeyboardOutput = 0xD2, WriteAuxiliaryOutput = 0xD3, WriteAuxiliary = 0xD4,
               Pulse = 0xF0;
    const byte Passed = 0x55, WiresFine = 0x00, ClockStuckLow = 0x01, Unlocked = 0x80, Resend = 0xFE,
               NoSuchChannel = 0xFF;

    readonly IrqLine _irq;
    readonly Action _reset;
    State _state = new(
        KeyboardInterrupt | SystemFlag | AuxiliaryOff | Translate, NotReset | A20, 0, 0, NotLocked | SystemFlag);

    /// <param name="irq">The keyboard's interrupt.</param>
    /// <param name="reset">Called when the guest pulses the processor's reset line.</param>
    public Keyboard8042(IrqLine irq, Action reset)
    {
        _irq = irq;
        _reset = reset;
        DataPort = new DataRegister(this);
        CommandPort = new CommandRegister(this);
    }

    /// <summary>One port, at 0x60 on a PC.</summary>
    public IPortDevice DataPort { get; }

    /// <summary>One port, at 0x64 on a PC: commands in, status out.</summary>
    public IPortDevice CommandPort { get; }

    bool LineLevel => (_state.Status & OutputFull) != 0 && (_state.Config & KeyboardInterrupt) != 0;

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    public void RestoreLines() => _irq.SetSilently(LineLevel);

    byte TakeOutput()
    {
        _state.Status &= unchecked((byte)~(OutputFull | TimedOut));
        _irq.Set(LineLevel);
        return _state.Output;
    }

    void Answer(byte value, bool hasTimedOut = false)
    {
        _state.Output = value;
        _state.Status = (byte)(_state.Status & ~TimedOut | OutputFull | (hasTimedOut ? TimedOut : 0));
    }

    void Execute(byte command)
    {
        _state.Status |= WasCommand;
        _state.Command = 0;
        switch (command)
        {
            case ReadConfig: Answer(_state.Config); break;
            case > ReadConfig and < 0x40: Answer(0); break;
            case >= WriteConfig and < 0x80: _state.Command = command; break;
            case >= WriteOutputPort and <= WriteAuxiliary: _state.Command = command; break;
            case TestAuxiliary: Answer(ClockStuckLow); break;
            case SelfTest: Answer(Passed); break;
            case TestKeyboard: Answer(WiresFine); break;
            case DisableKeyboard: _state.Config |= KeyboardOff; break;
            case EnableKeyboard: _state.Config &= unchecked((byte)~KeyboardOff); break;
            case ReadInputPort: Answer(Unlocked); break;
            case ReadOutputPort: Answer(_state.OutputPort); break;
            case >= Pulse when (command & NotReset) == 0: _reset(); break;
        }
        _irq.Set(LineLevel);
    }

    void TakeData(byte value)
    {
        byte command = _state.Command;
        _state.Status &= unchecked((byte)~WasCommand);
        _state.Command = 0;
        switch (command)
        {
            case WriteConfig: SetConfig(value); break;
            case > WriteConfig and < 0x80: break;
            case WriteOutputPort: SetOutputPort(value); break;
            case WriteKeyboardOutput: Answer(value); break;
            case WriteAuxiliaryOutput: Answer(NoSuchChannel); break;
            default: Answer(Resend, hasTimedOut: true); break;
        }
        _irq.Set(LineLevel);
    }

    void SetConfig(byte value)
    {
        _state.Config = (byte)(value | AuxiliaryOff);
        _state.Status = (byte)(_state.Status & ~SystemFlag | value & SystemFlag);
    }

    void SetOutputPort(byte value)
    {
        _state.OutputPort = value;
        if ((value & NotReset) == 0) _reset();
    }

    sealed class DataRegister(Keyboard8042 controller) : IBytePortDevice
    {
        public byte Read(int offset) => offset == 0 ? controller.TakeOutput() : (byte)0xFF;

        public void Write(int offset, byte value)
        {
            if (offset == 0) controller.TakeData(value);
        }
    }

    sealed class CommandRegister(Keyboard8042 controller) : IBytePortDevice
    {
        public byte Read(int offset) => offset == 0 ? controller._state.Status : (byte)0xFF;

        public void Write(int offset, byte value)
        {
            if (offset == 0) controller.Execute(value);
        }
    }
}
