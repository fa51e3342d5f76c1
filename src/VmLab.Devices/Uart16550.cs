using VmLab.Core;

namespace VmLab.Devices;

/// <summary>A 16550A UART: eight byte-wide registers, a 16-byte receive FIFO, one interrupt line.</summary>
/// <remarks>
/// Simplified: a byte is sent as soon as it is written, whatever the divisor; received data is announced from the
/// first byte, whatever the trigger level; the modem always reads as connected; there are no parity, framing or break
/// conditions. As on a PC, OUT2 gates the interrupt line. Source: National Semiconductor PC16550D (1995), "Registers"
/// and table II.
/// </remarks>
/// <param name="send">Takes each byte that leaves the port.</param>
public sealed class Uart16550(IrqLine irq, Action<byte> send)
    : IBytePortDevice, ISnapshot<Uart16550.State>, IDrivesLines
{
    /// <summary>All that the UART remembers. The level of the interrupt line follows from it.</summary>
    /// <param name="SentPending">The sender ran empty, and nobody has been told since.</param>
    /// <param name="Overrun">A byte was lost since line status was last read.</param>
    /// <param name="ModemDeltas">
    /// Which modem inputs changed since modem status was last read: bits 0 to 3 of that register.
    /// </param>
    [Schema("uart16550", version: 1)]
    public record struct State(
        Interrupts Enabled, byte Line, byte Modem, byte Scratch, ushort Divisor, bool FifosOn, bool SentPending,
        bool Overrun, byte ModemDeltas, Fifo16 Received);

    [Flags]
    public enum Interrupts : byte { None = 0, Received = 1, Sent = 2, LineStatus = 4, ModemStatus = 8 }

    // In falling order of priority, as the interrupt identification register reports them.
    enum Cause : byte { LineStatus = 0b0110, Received = 0b0100, Sent = 0b0010, ModemStatus = 0b0000, None = 0b0001 }

    // Register map. While the divisor latch is open, it covers the first two.
    const int Data = 0, InterruptEnable = 1, InterruptId = 2, FifoControl = 2, LineControl = 3,
              ModemControl = 4, LineStatus = 5, ModemStatus = 6, Scratch = 7;

    const byte RequestToSendBit = 0x02, Out2 = 0x08, Loopback = 0x10;
    const byte DataReady = 0x01, OverrunError = 0x02, SenderIdle = 0x60;
    const byte Connected = 0xB0;   // carrier, data set ready, clear to send
    const byte FifoEnable = 0x01, ClearReceived = 0x02, FifosOnId = 0xC0;

    State _state = new() { Divisor = 12 };

    /// <summary>Called, by the guest's access, when a FIFO that had no room has some again.</summary>
    public Action? RoomAppeared { get; set; }

    /// <summary>
    /// Whether <see cref="Receive"/> would keep a byte. In loopback the chip is cut off from outside.
    /// </summary>
    public bool HasRoom => !IsLoopback && _state.Received.Count < Capacity;

    /// <summary>The RTS output: a guest that uses hardware flow control lowers it when it can take no more.</summary>
    public bool RequestsToSend => !IsLoopback && (_state.Modem & RequestToSendBit) != 0;

    bool LatchOpen => (_state.Line & 0x80) != 0;
    bool IsLoopback => (_state.Modem & Loopback) != 0;
    int Capacity => _state.FifosOn ? 16 : 1;

    Cause Pending =>
        Wants(Interrupts.LineStatus) && _state.Overrun ? Cause.LineStatus
        : Wants(Interrupts.Received) && !_state.Received.IsEmpty ? Cause.Received
        : Wants(Interrupts.Sent) && _state.SentPending ? Cause.Sent
        : Wants(Interrupts.ModemStatus) && _state.ModemDeltas != 0 ? Cause.ModemStatus
        : Cause.None;

    bool LineLevel => Pending != Cause.None && (_state.Modem & (Out2 | Loopback)) == Out2;

    // In loopback the four modem outputs come back as inputs: DTR as DSR, RTS as CTS, OUT1 as RI, OUT2 as DCD.
    byte ModemInputs => !IsLoopback
        ? Connected
        : (byte)((_state.Modem & 0x01) << 5 | (_state.Modem & 0x02) << 3 | (_state.Modem & 0x0C) << 4);

    public byte Read(int offset)
    {
        bool hadRoom = HasRoom;
        byte value = offset switch
        {
            Data when LatchOpen => (byte)_state.Divisor,
            InterruptEnable when LatchOpen => (byte)(_state.Divisor >> 8),
            Data => Take(),
            InterruptEnable => (byte)_state.Enabled,
            InterruptId => Identify(),
            LineControl => _state.Line,
            ModemControl => _state.Modem,
            LineStatus => TakeLineStatus(),
            ModemStatus => TakeModemStatus(),
            Scratch => _state.Scratch,
            _ => 0xFF,
        };
        Settle(hadRoom);
        return value;
    }

    public void Write(int offset, byte value)
    {
        bool hadRoom = HasRoom;
        switch (offset)
        {
            case Data when LatchOpen: SetDivisor(low: value, high: (byte)(_state.Divisor >> 8)); break;
            case InterruptEnable when LatchOpen: SetDivisor(low: (byte)_state.Divisor, high: value); break;
            case Data: Send(value); break;
            case InterruptEnable: Enable((Interrupts)(value & 0x0F)); break;
            case FifoControl: ControlFifos(value); break;
            case LineControl: _state.Line = value; break;
            case ModemControl: ControlModem((byte)(value & 0x1F)); break;
            case Scratch: _state.Scratch = value; break;
        }
        Settle(hadRoom);
    }

    /// <summary>
    /// Takes one byte from the outside; a full FIFO drops it and reports an overrun, a chip in loopback does not see
    /// it.
    /// </summary>
    public void Receive(byte value)
    {
        if (!IsLoopback) Accept(value);
        DriveLine();
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    public void RestoreLines() => irq.SetSilently(LineLevel);

    bool Wants(Interrupts cause) => (_state.Enabled & cause) != 0;

    void SetDivisor(byte low, byte high) => _state.Divisor = (ushort)(high << 8 | low);

    void Send(byte value)
    {
        if (IsLoopback) Accept(value);
        else send(value);
        _state.SentPending = true;
    }

    void Accept(byte value)
    {
        if (_state.Received.Count < Capacity) _state.Received = _state.Received.Push(value);
        else _state.Overrun = true;
    }

    // The sender is always idle, so to switch its interrupt on is to have one pending: Linux's driver tests for this.
    void Enable(Interrupts causes)
    {
        if (((causes ^ _state.Enabled) & Interrupts.Sent) != 0) _state.SentPending = (causes & Interrupts.Sent) != 0;
        _state.Enabled = causes;
    }

    void ControlFifos(byte value)
    {
        bool on = (value & FifoEnable) != 0;
        if (on != _state.FifosOn || on && (value & ClearReceived) != 0) _state.Received = default;
        _state.FifosOn = on;
    }

    void ControlModem(byte value)
    {
        byte before = ModemInputs;
        _state.Modem = value;
        int changed = (before ^ ModemInputs) >> 4;
        const int Ring = 0x04;
        // The ring indicator counts its trailing edge only.
        int delta = changed & ~Ring | changed & Ring & before >> 4;
        _state.ModemDeltas |= (byte)delta;
    }

    byte Take()
    {
        if (_state.Received.IsEmpty) return 0;
        byte oldest = _state.Received.Oldest;
        _state.Received = _state.Received.Pop();
        return oldest;
    }

    /// <summary>Reports the pending cause; to read "sent" is to acknowledge it.</summary>
    byte Identify()
    {
        Cause cause = Pending;
        if (cause == Cause.Sent) _state.SentPending = false;
        return (byte)((byte)cause | (_state.FifosOn ? FifosOnId : 0));
    }

    byte TakeLineStatus()
    {
        int status = SenderIdle | (_state.Received.IsEmpty ? 0 : DataReady) | (_state.Overrun ? OverrunError : 0);
        _state.Overrun = false;
        return (byte)status;
    }

    byte TakeModemStatus()
    {
        byte status = (byte)(ModemInputs | _state.ModemDeltas);
        _state.ModemDeltas = 0;
        return status;
    }

    void Settle(bool hadRoom)
    {
        DriveLine();
        if (!hadRoom && HasRoom) RoomAppeared?.Invoke();
    }

    void DriveLine() => irq.Set(LineLevel);
}
