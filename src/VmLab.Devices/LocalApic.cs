using VmLab.Core;

namespace VmLab.Devices;

/// <summary>A processor's local APIC: xAPIC in memory, x2APIC in model-specific registers, and the timer.</summary>
/// <remarks>
/// Simplified: LINT0 knows ExtINT only; no thermal, performance or machine-check sources; no SMI; the memory window
/// does not move with the base register; identifiers are read-only; EOI broadcasts cannot be suppressed. After
/// power-on LINT0 lets the 8259s through and LINT1 is the NMI, as a BIOS leaves them. A timer that is masked, or
/// whose interrupt waits already, sets no deadlines.
/// Source: Intel SDM vol. 3A, chapter 11 (edition 253668-082, December 2023).
/// </remarks>
public sealed class LocalApic : IInterruptSource, IMmioDevice, IMsrDevice, ITimed, ISnapshot<LocalApic.State>
{
    /// <param name="ApicBase">The model-specific register IA32_APIC_BASE.</param>
    /// <param name="LocalVectors">Timer, thermal, performance, LINT0, LINT1, error.</param>
    /// <param name="Errors">Errors since the error status register was last written.</param>
    /// <param name="NextFire">Tick of the timer's undivided clock at which the count reaches zero, or never.</param>
    /// <param name="TscDeadline">
    /// Time-stamp counter value at which the timer fires in its third mode; 0 when disarmed.
    /// </param>
    [Schema("local-apic", version: 1)]
    public record struct State(
        ulong ApicBase, byte TaskPriority, uint LogicalDestination, uint DestinationFormat, uint Spurious,
        Bits256 Requested, Bits256 InService, Bits256 LevelTriggered, byte Errors, byte ErrorStatus,
        ulong InterruptCommand, Values<uint> LocalVectors, uint InitialCount, uint Divide, ulong NextFire,
        ulong TscDeadline);

    /// <summary>Model-specific registers: the base, the TSC deadline, and the 256 of x2APIC.</summary>
    public const uint ApicBaseMsr = 0x1B, TscDeadlineMsr = 0x6E0, FirstX2ApicMsr = 0x800, LastX2ApicMsr = 0x8FF;

    // Registers, 16 bytes apart in memory, 1 apart as model-specific registers.
    const int Identifier = 0x02, Version = 0x03, TaskPriority = 0x08, Arbitration = 0x09, PriorityNow = 0x0A,
              EndOfInterrupt = 0x0B, RemoteRead = 0x0C, LogicalDestination = 0x0D, DestinationFormat = 0x0E,
              Spurious = 0x0F, InService = 0x10, LevelTriggered = 0x18, Requested = 0x20, ErrorStatus = 0x28,
              CommandLow = 0x30, CommandHigh = 0x31, FirstVector = 0x32, LastVector = 0x37, InitialCount = 0x38,
              CurrentCount = 0x39, Divide = 0x3E, SelfIpi = 0x3F;

    const int Timer = 0, Lint0 = 3, Lint1 = 4, ErrorVector = 5;

    const uint VersionValue = 0x0005_0014;   // integrated, six local vectors
    const uint Masked = 0x1_0000, SoftwareEnable = 0x100, Periodic = 0x2_0000, DeadlineMode = 0x4_0000,
               TimerModes = 0x6_0000;
    const uint ExternalThrough = 0x700, NmiThrough = 0x400, ReadOnlyVectorBits = 0x5000, CommandBits = 0x000C_CFFF;
    const ulong Bootstrap = 0x100, X2Enable = 0x400, GlobalEnable = 0x800, DefaultBase = 0xFEE0_0000,
                ReservedBaseBits = 0xFFF0_0000_0000_02FF;

    [Flags]
    enum Error : byte { SendIllegalVector = 0x20, ReceiveIllegalVector = 0x40, IllegalRegister = 0x80 }

    static readonly uint[] s_vectorBits = [0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF];

    readonly uint _id;
    readonly IClock _clock;
    readonly ApicBus _bus;
    readonly Pic8259Pair? _pic;
    readonly Oscillator _crystal;
    readonly Func<ulong, ulong> _timeOfTsc;
    State _state;

    /// <param name="id">The identifier; 0 is the bootstrap processor's.</param>
    /// <param name="pic">What LINT0 is wired to; <see langword="null"/> on all but the bootstrap processor.</param>
    /// <param name="timerHertz">Of the clock that the timer divides.</param>
    /// <param name="timeOfTsc">
    /// Turns a value of the processor's time-stamp counter into the machine time at which it is first reached, in
    /// nanoseconds; <see langword="null"/> when the counter counts nanoseconds.
    /// </param>
    public LocalApic(
        uint id, IClock clock, ApicBus bus, Pic8259Pair? pic, ulong timerHertz = 1_000_000_000,
        Func<ulong, ulong>? timeOfTsc = null)
    {
        _id = id;
        _clock = clock;
        _bus = bus;
        _pic = pic;
        _crystal = new Oscillator(timerHertz);
        _timeOfTsc = timeOfTsc ?? (value => value);
        _state = PowerOn;
        bus.Join(this);
    }

    /// <summary>The processor's NMI pin: a pulse.</summary>
    public Action? NmiRaised { get; set; }

    /// <summary>Asked whether the timer's interrupt that is due gets lost.</summary>
    public Func<bool>? LosesTick { get; init; }

    /// <summary>The processor's INIT pin: a pulse. The APIC resets itself.</summary>
    public Action? InitRaised { get; set; }

    /// <summary>A start-up message with its vector: the page that the processor starts in.</summary>
    public Action<byte>? StartUpReceived { get; set; }

    public bool IsRequested => HasDeliverable || LetsPicThrough && _pic!.IsRequested;

    public ulong NextDeadline =>
        IsMasked(Timer) || IsEnabled && _state.Requested[(byte)_state.LocalVectors[Timer]]
            ? Oscillator.Never
            : FireTime;

    /// <summary>The class of task priority, as CR8 shows it.</summary>
    public byte Priority
    {
        get => (byte)(_state.TaskPriority >> 4);
        set => _state.TaskPriority = (byte)(value << 4);
    }

    internal bool IsEnabled => IsGloballyEnabled && (_state.Spurious & SoftwareEnable) != 0;

    /// <summary>The higher of the task's priority and that of the interrupt in service.</summary>
    internal byte ProcessorPriority
    {
        get
        {
            int served = Math.Max(_state.InService.Highest, 0) & 0xF0;
            return _state.TaskPriority >= served ? _state.TaskPriority : (byte)served;
        }
    }

    bool IsGloballyEnabled => (_state.ApicBase & GlobalEnable) != 0;

    bool IsX2 => (_state.ApicBase & X2Enable) != 0;

    bool IsDeadlineMode => (_state.LocalVectors[Timer] & TimerModes) == DeadlineMode;

    bool HasDeliverable => IsEnabled && _state.Requested.Highest >> 4 > ProcessorPriority >> 4;

    bool LetsPicThrough =>
        _pic is not null && (!IsGloballyEnabled || (_state.LocalVectors[Lint0] & (Masked | 0x700)) == ExternalThrough);

    uint DivideBy => (_state.Divide & 3 | _state.Divide >> 1 & 4) is var code && code == 7 ? 1 : 2U << (int)code;

    ulong Tick => _crystal.TicksAt(_clock.Now);

    ulong FireTime =>
        IsDeadlineMode ? (_state.TscDeadline == 0 ? Oscillator.Never : _timeOfTsc(_state.TscDeadline))
        : _state.NextFire == Oscillator.Never ? Oscillator.Never
        : _crystal.TimeOf(_state.NextFire);

    State PowerOn => new()
    {
        ApicBase = DefaultBase | GlobalEnable | (_id == 0 ? Bootstrap : 0),
        DestinationFormat = uint.MaxValue,
        Spurious = 0xFF,
        LocalVectors = [Masked, Masked, Masked, _pic is null ? Masked : ExternalThrough,
                        _pic is null ? Masked : NmiThrough, Masked],
        NextFire = Oscillator.Never,
    };

    public byte Acknowledge()
    {
        Advance();   // a timer that fired again before its first interrupt was taken has merged with it
        if (HasDeliverable)
        {
            int vector = _state.Requested.Highest;
            _state.Requested = _state.Requested.With(vector, false);
            _state.InService = _state.InService.With(vector, true);
            return (byte)vector;
        }
        return LetsPicThrough && _pic!.IsRequested ? _pic.Acknowledge() : (byte)_state.Spurious;
    }

    public ulong Read(ulong offset, int width)
    {
        if (!IsGloballyEnabled || IsX2) return ulong.MaxValue;
        if ((offset & 0xF) >= 4 || offset > 0xFFF) return 0;
        return ReadRegister((int)(offset >> 4)) >> (int)(offset & 3) * 8;
    }

    public void Write(ulong offset, int width, ulong value)
    {
        if (!IsGloballyEnabled || IsX2 || width < 4 || (offset & 0xF) != 0 || offset > 0xFFF) return;
        WriteRegister((int)(offset >> 4), (uint)value);
    }

    public bool TryReadMsr(uint index, out ulong value)
    {
        Advance();
        value = index switch
        {
            ApicBaseMsr => _state.ApicBase,
            TscDeadlineMsr => IsDeadlineMode ? _state.TscDeadline : 0,
            FirstX2ApicMsr + CommandLow => _state.InterruptCommand,
            _ => 0,
        };
        if (index is ApicBaseMsr or TscDeadlineMsr) return true;
        if (!IsX2 || !IsReadableX2((int)(index - FirstX2ApicMsr))) return false;
        if (index != FirstX2ApicMsr + CommandLow) value = ReadRegister((int)(index - FirstX2ApicMsr));
        return true;
    }

    public bool TryWriteMsr(uint index, ulong value)
    {
        Advance();
        switch (index)
        {
            case ApicBaseMsr: return TrySetBase(value);
            case TscDeadlineMsr: SetTscDeadline(value); return true;
        }
        int register = (int)(index - FirstX2ApicMsr);
        if (!IsX2 || !IsWritableX2(register)) return false;
        if (register == CommandLow) return TrySetCommand(value);
        if ((value & ~(ulong)X2Bits(register)) != 0) return false;
        WriteRegister(register, (uint)value);
        return true;
    }

    /// <summary>Fires the timer if it is due; however often it was due since, that is one interrupt.</summary>
    public void Advance()
    {
        if (_clock.Now < FireTime) return;
        ulong period = Math.Max(1, (ulong)_state.InitialCount * DivideBy);
        if (IsDeadlineMode) _state.TscDeadline = 0;
        else if ((_state.LocalVectors[Timer] & Periodic) == 0) _state.NextFire = Oscillator.Never;
        else _state.NextFire += ((Tick - _state.NextFire) / period + 1) * period;
        if (LosesTick?.Invoke() != true) Trigger(Timer);
    }

    /// <summary>A pulse on the LINT1 pin, the NMI of a PC unless the guest made it something else.</summary>
    public void PulseLint1()
    {
        if (IsGloballyEnabled) Trigger(Lint1);
        else NmiRaised?.Invoke();
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    /// <summary>Whether this is one of those that a message is meant for.</summary>
    internal bool Matches(in ApicMessage message)
    {
        if (message.Destination == ApicMessage.Everybody) return true;
        if (!message.IsLogical) return message.Destination == _id;
        if (IsX2)
        {
            uint mine = X2LogicalAddress;
            return mine >> 16 == message.Destination >> 16 && (mine & message.Destination & 0xFFFF) != 0;
        }
        uint address = _state.LogicalDestination >> 24;
        bool isFlat = _state.DestinationFormat >> 28 == 0xF;
        return isFlat
            ? (address & message.Destination) != 0
            : address >> 4 == message.Destination >> 4 && (address & message.Destination & 0xF) != 0;
    }

    /// <returns>Whether it was taken; a disabled APIC takes no vectors.</returns>
    internal bool Accept(in ApicMessage message)
    {
        if (!IsGloballyEnabled) return false;
        switch (message.Mode)
        {
            case DeliveryMode.Fixed or DeliveryMode.LowestPriority: return Accept(message.Vector, message.IsLevel);
            case DeliveryMode.Nmi: NmiRaised?.Invoke(); return true;
            case DeliveryMode.Init:
                _state = PowerOn with { ApicBase = _state.ApicBase };
                InitRaised?.Invoke();
                return true;
            case DeliveryMode.StartUp: StartUpReceived?.Invoke(message.Vector); return true;
            default: return false;
        }
    }

    uint X2LogicalAddress => _id >> 4 << 16 | 1U << (int)(_id & 0xF);

    bool IsMasked(int vector) => (_state.LocalVectors[vector] & Masked) != 0;

    bool Accept(byte vector, bool isLevel)
    {
        if (!IsEnabled) return false;
        if (vector < 16)
        {
            Report(Error.ReceiveIllegalVector);
            return false;
        }
        _state.Requested = _state.Requested.With(vector, true);
        _state.LevelTriggered = _state.LevelTriggered.With(vector, isLevel);
        return true;
    }

    void Trigger(int vector)
    {
        if (IsMasked(vector)) return;
        uint entry = _state.LocalVectors[vector];
        var mode = (DeliveryMode)(entry >> 8 & 7);
        if (mode == DeliveryMode.Fixed) Accept((byte)entry, isLevel: false);
        else if (mode == DeliveryMode.Nmi) NmiRaised?.Invoke();
    }

    // An error that is noted already raises nothing, so an illegal vector in the error entry itself ends here.
    void Report(Error error)
    {
        if ((_state.Errors & (byte)error) != 0) return;
        _state.Errors |= (byte)error;
        Trigger(ErrorVector);
    }

    uint ReadRegister(int register)
    {
        Advance();
        return register switch
        {
            Identifier => IsX2 ? _id : _id << 24,
            Version => VersionValue,
            TaskPriority => _state.TaskPriority,
            PriorityNow => ProcessorPriority,
            LogicalDestination => IsX2 ? X2LogicalAddress : _state.LogicalDestination,
            DestinationFormat => _state.DestinationFormat,
            Spurious => _state.Spurious,
            >= InService and < InService + 8 => _state.InService.Word(register - InService),
            >= LevelTriggered and < LevelTriggered + 8 => _state.LevelTriggered.Word(register - LevelTriggered),
            >= Requested and < Requested + 8 => _state.Requested.Word(register - Requested),
            ErrorStatus => _state.ErrorStatus,
            CommandLow => (uint)_state.InterruptCommand,
            CommandHigh => (uint)(_state.InterruptCommand >> 32),
            >= FirstVector and <= LastVector => _state.LocalVectors[register - FirstVector],
            InitialCount => _state.InitialCount,
            CurrentCount => CountNow,
            Divide => _state.Divide,
            Arbitration or EndOfInterrupt or RemoteRead => 0,
            _ => Illegal(),
        };
    }

    void WriteRegister(int register, uint value)
    {
        Advance();
        switch (register)
        {
            case TaskPriority: _state.TaskPriority = (byte)value; break;
            case EndOfInterrupt: End(); break;
            case LogicalDestination: _state.LogicalDestination = value & 0xFF00_0000; break;
            case DestinationFormat: _state.DestinationFormat = value | 0x0FFF_FFFF; break;
            case Spurious: SetSpurious(value & 0x3FF); break;
            case ErrorStatus: (_state.ErrorStatus, _state.Errors) = (_state.Errors, 0); break;
            case CommandLow: SetCommand(_state.InterruptCommand & ~0xFFFF_FFFFUL | value & CommandBits); break;
            case CommandHigh: SetCommandDestination(value & 0xFF00_0000); break;
            case >= FirstVector and <= LastVector: SetVector(register - FirstVector, value); break;
            case InitialCount: SetInitialCount(value); break;
            case Divide: SetDivide(value & 0xB); break;
            case SelfIpi when IsX2: Accept((byte)value, isLevel: false); break;
            case Identifier or Version or Arbitration or PriorityNow or RemoteRead or CurrentCount: break;
            case >= InService and < ErrorStatus: break;
            default: Illegal(); break;
        }
    }

    uint Illegal()
    {
        Report(Error.IllegalRegister);
        return 0;
    }

    void End()
    {
        int vector = _state.InService.Highest;
        if (vector < 0) return;
        _state.InService = _state.InService.With(vector, false);
        if (_state.LevelTriggered[vector]) _bus.EndOfInterrupt((byte)vector);
    }

    void SetSpurious(uint value)
    {
        _state.Spurious = value;
        if ((value & SoftwareEnable) != 0) return;
        for (int i = 0; i < s_vectorBits.Length; i++)
            _state.LocalVectors = _state.LocalVectors.With(i, _state.LocalVectors[i] | Masked);
    }

    void SetVector(int vector, uint value)
    {
        bool wasDeadline = IsDeadlineMode;
        uint forced = (_state.Spurious & SoftwareEnable) == 0 ? Masked : 0;
        _state.LocalVectors = _state.LocalVectors.With(vector, value & s_vectorBits[vector] | forced);
        if (wasDeadline != IsDeadlineMode) (_state.NextFire, _state.TscDeadline) = (Oscillator.Never, 0);
    }

    uint CountNow
    {
        get
        {
            if (IsDeadlineMode || _state.NextFire == Oscillator.Never) return 0;
            return (uint)((_state.NextFire - Tick + DivideBy - 1) / DivideBy);
        }
    }

    void SetInitialCount(uint value)
    {
        if (IsDeadlineMode) return;
        _state.InitialCount = value;
        _state.NextFire = value == 0 ? Oscillator.Never : Tick + (ulong)value * DivideBy;
    }

    void SetDivide(uint value)
    {
        uint left = CountNow;
        _state.Divide = value;
        if (left != 0) _state.NextFire = Tick + (ulong)left * DivideBy;
    }

    void SetTscDeadline(ulong value)
    {
        if (!IsDeadlineMode) return;
        _state.TscDeadline = value;
        Advance();
    }

    bool TrySetBase(ulong value)
    {
        ulong mode = value & (GlobalEnable | X2Enable), before = _state.ApicBase & (GlobalEnable | X2Enable);
        bool isBackStep = before == (GlobalEnable | X2Enable) && mode == GlobalEnable;
        bool isLeap = before == 0 && mode == (GlobalEnable | X2Enable);
        if ((value & ReservedBaseBits) != 0 || mode == X2Enable || isBackStep || isLeap) return false;
        if (mode == 0 && before != 0) _state = PowerOn;   // what a disabled APIC held is lost
        _state.ApicBase = value & ~Bootstrap | (_id == 0 ? Bootstrap : 0);
        return true;
    }

    bool TrySetCommand(ulong value)
    {
        if ((value & 0xFFFF_FFFF & ~(ulong)CommandBits) != 0) return false;
        SetCommand(value);
        return true;
    }

    void SetCommandDestination(uint value) =>
        _state.InterruptCommand = (uint)_state.InterruptCommand | (ulong)value << 32;

    void SetCommand(ulong command)
    {
        _state.InterruptCommand = command;
        uint destination = IsX2 ? (uint)(command >> 32) : ApicMessage.Widen((byte)(command >> 56));
        var message = new ApicMessage(
            destination, (command & 0x800) != 0, (DeliveryMode)(command >> 8 & 7), (byte)command);
        bool isDeassert = (command & 0xC000) == 0x8000;
        if (message.Mode == DeliveryMode.Init && isDeassert) return;
        if (message.Mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority && message.Vector < 16)
        {
            Report(Error.SendIllegalVector);
            return;
        }
        switch (command >> 18 & 3)
        {
            case 0: _bus.Deliver(message); break;
            case 1: Accept(message); break;
            case 2: _bus.Broadcast(message, except: null); break;
            default: _bus.Broadcast(message, except: this); break;
        }
    }

    static bool IsReadableX2(int register) => register is
        Identifier or Version or TaskPriority or PriorityNow or LogicalDestination or Spurious or ErrorStatus
        or CommandLow or (>= InService and < ErrorStatus) or (>= FirstVector and <= CurrentCount) or Divide;

    static bool IsWritableX2(int register) => register is
        TaskPriority or EndOfInterrupt or Spurious or ErrorStatus or CommandLow
        or (>= FirstVector and <= InitialCount) or Divide or SelfIpi;

    // What may be written without #GP.
    static uint X2Bits(int register) => register switch
    {
        TaskPriority or SelfIpi => 0xFF,
        Spurious => 0x13FF,
        >= FirstVector and <= LastVector => s_vectorBits[register - FirstVector] | ReadOnlyVectorBits,
        InitialCount => uint.MaxValue,
        Divide => 0xB,
        _ => 0,
    };
}
