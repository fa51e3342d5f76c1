namespace VmLab.X86;

// Which exception or interrupt is delivered, and when.
public sealed unsafe partial class Vcpu
{
    /// <summary>Notes an exception of the running instruction; the loop delivers it.</summary>
    internal void SetFault(CpuException exception)
    {
        _s->FaultVector = exception.Vector;
        _s->FaultHasError = exception.ErrorCode is null ? (byte)0 : (byte)1;
        _s->FaultError = exception.ErrorCode ?? 0;
        _s->FaultAddress = exception.Address;
        _s->Leave = Leave.Fault;
    }

    /// <summary>Takes a machine check, an NMI or an interrupt if one is pending and allowed.</summary>
    bool TakeInterrupt()
    {
        byte vector;
        if (_s->MachineCheckPending != 0)
        {
            _s->MachineCheckPending = 0;
            vector = Vector.MachineCheck;
        }
        else if (_s->NmiPending != 0 && _s->NmiBlocked == 0)
        {
            _s->NmiPending = 0;
            _s->NmiBlocked = 1;
            vector = Vector.Nmi;
        }
        else if ((_s->SystemFlags & Rflags.Interrupt) != 0 && _board.Interrupts.IsRequested)
        {
            PublishBetween(countsTaken: 0);
            vector = _board.Interrupts.Acknowledge();
        }
        else return false;
        Count(ExitReason.Interrupt);
        if (IsRepeating) _s->SystemFlags |= Rflags.Resume;
        _s->Budget--;
        SetFault(new CpuException(vector));
        if (!Deliver(isSoftware: false, isExternal: true)) DeliverNested(Vector.Nmi);   // benign, whatever its number
        return true;
    }

    /// <summary>Delivers the exception or software interrupt that the state names.</summary>
    /// <returns><see langword="false"/> on a triple fault.</returns>
    bool DeliverFault()
    {
        bool isSoftware = _s->Leave == Leave.Trap;
        byte vector = _s->FaultVector;
        if (!isSoftware)
        {
            Count(vector == Vector.PageFault ? ExitReason.PageFault : ExitReason.Exception);
            _s->Budget--;
            _s->TrapPending = 0;   // what waited behind a load of SS is lost to a fault
            if (vector == Vector.Debug) EnterDebugHandler();
        }
        bool isFault = _s->Leave == Leave.Fault && vector != Vector.Debug;
        _s->Leave = Leave.Next;
        _s->InterruptShadow = 0;
        _s->CheckInterrupts = 1;
        if (Deliver(isSoftware, isExternal: false, isFault)) return true;
        if (!isSoftware) return DeliverNested(vector);
        _s->Rip = _s->PendingAddress;   // what INT n raises is raised at INT n, and is the one count of both
        return DeliverNested(Vector.Breakpoint);
    }

    /// <summary>An exception rose while another was delivered. Source: Intel SDM vol. 3A table 6-5.</summary>
    bool DeliverNested(byte first)
    {
        while (first != Vector.DoubleFault)
        {
            byte second = _s->FaultVector;
            if (second == Vector.PageFault) _s->Cr2 = _s->FaultAddress;
            bool isDouble = IsContributory(first) && IsContributory(second)
                || first == Vector.PageFault && (IsContributory(second) || second == Vector.PageFault);
            if (isDouble) SetFault(new CpuException(Vector.DoubleFault, 0));
            first = _s->FaultVector;
            _s->Leave = Leave.Next;
            if (Deliver(isSoftware: false, isExternal: false, isFault: true)) return true;
        }
        _s->Leave = Leave.Shutdown;
        return false;
    }

    static bool IsContributory(byte vector) =>
        vector is Vector.DivideError or Vector.InvalidTss or Vector.SegmentNotPresent or Vector.StackFault or Vector.GeneralProtection;

    bool FailWith(CpuException exception)
    {
        SetFault(exception);
        return false;
    }

    /// <summary>
    /// Tasks are switched by software here: a task gate, a TSS as the target of a far transfer and a nested IRET raise #GP, and are
    /// counted.
    /// </summary>
    bool RefuseTaskSwitch(uint error)
    {
        Count(ExitReason.TaskSwitch);
        return FailWith(CpuException.GeneralProtection(error));
    }
}
