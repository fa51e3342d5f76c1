using System.Reflection;
using NUnit.Framework.Interfaces;

namespace VmLab.Testing;

/// <summary>A method of a test that, on a pump, has run to its end when Invoke returns.</summary>
sealed class PumpedMethod(IMethodInfo method) : IMethodInfo
{
    public ITypeInfo TypeInfo => method.TypeInfo;
    public MethodInfo MethodInfo => method.MethodInfo;
    public string Name => method.Name;
    public bool IsAbstract => method.IsAbstract;
    public bool IsPublic => method.IsPublic;
    public bool IsStatic => method.IsStatic;
    public bool ContainsGenericParameters => method.ContainsGenericParameters;
    public bool IsGenericMethod => method.IsGenericMethod;
    public bool IsGenericMethodDefinition => method.IsGenericMethodDefinition;
    public ITypeInfo ReturnType => method.ReturnType;

    public T[] GetCustomAttributes<T>(bool inherit) where T : class => method.GetCustomAttributes<T>(inherit);
    public bool IsDefined<T>(bool inherit) where T : class => method.IsDefined<T>(inherit);
    public IParameterInfo[] GetParameters() => method.GetParameters();
    public Type[] GetGenericArguments() => method.GetGenericArguments();
    public IMethodInfo MakeGenericMethod(params Type[] typeArguments) => new PumpedMethod(method.MakeGenericMethod(typeArguments));

    public object? Invoke(object? fixture, params object?[]? args)
    {
        if (Pump.Current is not { } pump) return method.Invoke(fixture, args);
        object? result = null;
        pump.Drive(() =>
        {
            result = method.Invoke(fixture, args);
            return result as Task ?? Task.CompletedTask;
        });
        return result;
    }
}
