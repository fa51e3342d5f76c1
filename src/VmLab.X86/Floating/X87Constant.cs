namespace VmLab.X86.Floating;

/// <summary>The constants of FLD1 to FLDZ, in the order of their encodings D9 E8 to D9 EE.</summary>
public enum X87Constant : byte { One, Log2Of10, Log2OfE, Pi, Log10Of2, LnOf2, Zero }
