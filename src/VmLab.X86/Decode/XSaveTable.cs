using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of an instruction of the XSAVE family.</summary>
static unsafe class XSaveTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Xgetbv => &XSaveOps.GetControl,
        Mnemonic.Xsetbv => &XSaveOps.SetControl,
        Mnemonic.Xsave or Mnemonic.Xsave64 => Save<SaveAll>(SetWidth(f)),
        Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64 => Save<SaveOptimized>(SetWidth(f)),
        Mnemonic.Xsavec or Mnemonic.Xsavec64 => Save<SaveCompacted>(SetWidth(f)),
        Mnemonic.Xrstor or Mnemonic.Xrstor64 => Restore(SetWidth(f)),
        _ => null,
    };

    static Form SetWidth(in Form f)
    {
        bool isWide = f.Instruction.Mnemonic is Mnemonic.Xsave64 or Mnemonic.Xsaveopt64 or Mnemonic.Xsavec64 or Mnemonic.Xrstor64;
        f.Op->Extra = isWide ? (byte)1 : (byte)0;
        return f;
    }

    static Handler Save<TKind>(in Form f)
        where TKind : ISaving => f.Address switch
        {
            AddressKind.Narrow32 => &XSaveOps.Save<TKind, Address32>,
            AddressKind.Narrow16 => &XSaveOps.Save<TKind, Address16>,
            _ => &XSaveOps.Save<TKind, FullAddress>,
        };

    static Handler Restore(in Form f) => f.Address switch
    {
        AddressKind.Narrow32 => &XSaveOps.Restore<Address32>,
        AddressKind.Narrow16 => &XSaveOps.Restore<Address16>,
        _ => &XSaveOps.Restore<FullAddress>,
    };
}
