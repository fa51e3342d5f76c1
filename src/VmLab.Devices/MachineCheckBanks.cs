using VmLab.Core;

namespace VmLab.Devices;

/// <summary>The registers in which a processor tells what its hardware found wrong: four banks of them.</summary>
/// <remarks>
/// Simplified: no interrupt at a threshold of corrected errors; what a guest writes to a bank's control does nothing. Source: Intel SDM
/// vol. 3B §16.3 (registers, what overwrites what), §16.8 (handler); AMD APM vol. 2 §9.3.
/// </remarks>
public sealed class MachineCheckBanks : IMsrDevice, ISnapshot<MachineCheckBanks.State>
{
    /// <param name="GlobalStatus">MCG_STATUS: whether an error is being told, and where the processor stood.</param>
    [Schema("machine-check-banks", version: 1)]
    public readonly record struct State(ulong GlobalStatus, Values<Bank> Banks);

    /// <param name="Control">What the guest wants to hear of.</param>
    /// <param name="Status">What happened; 0 for nothing.</param>
    /// <param name="Address">Where, in physical memory.</param>
    public readonly record struct Bank(ulong Control, ulong Status, ulong Address);

    public const int BankCount = 4;

    /// <summary>The registers: MCG_CAP and MCG_STATUS; control, status, address and miscellaneous of each bank.</summary>
    public const uint FirstGlobalMsr = 0x179, LastGlobalMsr = 0x17A, FirstBankMsr = 0x400, LastBankMsr = FirstBankMsr + 4 * BankCount - 1;

    const ulong RestartIsValid = 1, ErrorIsValid = 2, InProgress = 4, GlobalWritable = RestartIsValid | ErrorIsValid | InProgress;

    // Of a bank's status. The error code is one of the data cache, met by a read.
    const ulong Valid = 1UL << 63, Overflow = 1UL << 62, Uncorrected = 1UL << 61, Enabled = 1UL << 60, HasAddress = 1UL << 58,
                Corrupt = 1UL << 57, DataCacheRead = 0x0135;

    State _state = new(0, [.. new Bank[BankCount]]);

    /// <summary>Notes an error that was not corrected, and after which the processor's state is not to be trusted.</summary>
    /// <param name="address">In physical memory, if it is known.</param>
    /// <returns><see langword="false"/>: the guest is being told of one already, and hardware would shut down.</returns>
    public bool TryNote(int bank, ulong? address)
    {
        if ((_state.GlobalStatus & InProgress) != 0) return false;
        Note(bank, Uncorrected | Corrupt, address);
        _state = _state with { GlobalStatus = InProgress | ErrorIsValid };
        return true;
    }

    /// <summary>Notes an error that was corrected: the bank tells of it when the guest looks.</summary>
    /// <param name="address">In physical memory, if it is known.</param>
    public void NoteCorrected(int bank, ulong? address) => Note(bank, 0, address);

    public bool TryReadMsr(uint index, out ulong value)
    {
        Bank bank = index < FirstBankMsr ? default : _state.Banks[(int)(index - FirstBankMsr) / 4];
        value = index switch
        {
            FirstGlobalMsr => BankCount,
            LastGlobalMsr => _state.GlobalStatus,
            _ => (index & 3) switch { 0 => bank.Control, 1 => bank.Status, 2 => bank.Address, _ => 0 },
        };
        return true;
    }

    public bool TryWriteMsr(uint index, ulong value)
    {
        if (index == FirstGlobalMsr) return false;
        if (index == LastGlobalMsr)
        {
            if ((value & ~GlobalWritable) != 0) return false;
            _state = _state with { GlobalStatus = value };
            return true;
        }
        int number = (int)(index - FirstBankMsr) / 4;
        Bank bank = _state.Banks[number];
        if ((index & 3) == 0) Set(number, bank with { Control = value });
        else if (value != 0) return false;      // what was told may only be cleared
        else if ((index & 3) == 1) Set(number, bank with { Status = 0 });
        else if ((index & 3) == 2) Set(number, bank with { Address = 0 });
        return true;
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state.Banks.Count == BankCount
        ? state : throw new LabException("The moment is of a processor with other machine-check banks.");

    /// <summary>Keeps the first error that the guest has not cleared, unless a worse one comes; that there were more is told as well.</summary>
    void Note(int number, ulong severity, ulong? address)
    {
        Bank bank = _state.Banks[number];
        bool isKept = (bank.Status & Valid) != 0 && (bank.Status & Uncorrected) >= (severity & Uncorrected);
        ulong overflow = (bank.Status & Valid) != 0 ? Overflow : 0;
        Set(number, isKept
            ? bank with { Status = bank.Status | overflow }
            : bank with
            {
                Status = Valid | Enabled | DataCacheRead | severity | overflow | (address is null ? 0 : HasAddress),
                Address = address ?? 0,
            });
    }

    void Set(int number, Bank bank) => _state = _state with { Banks = _state.Banks.With(number, bank) };
}
