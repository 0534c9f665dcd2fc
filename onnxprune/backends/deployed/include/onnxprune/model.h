/* A compiled network: onnxprune::Model model("model.so"); std::vector<onnxprune::Array> outputs = model(inputs);

   The TVM runtime, libtvm_runtime.so and libtvm_ffi.so, is opened when the first model is: from the folder of the model,
   else from where the system looks for libraries. So a program needs to be linked with libdl alone, and the folder of
   the model can lie anywhere. What fails throws std::runtime_error. C++11. */
#ifndef ONNXPRUNE_MODEL_H_
#define ONNXPRUNE_MODEL_H_

#include <dlfcn.h>
#include <onnxprune/array.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace onnxprune {

/* The functions of libtvm_ffi.so that are called here. */
class Runtime {
 public:
  /* The one runtime of this process; the first caller says where to look for it. */
  static const Runtime& of(const std::string& folder) {
    static const Runtime runtime(folder);
    return runtime;
  }

  decltype(&TVMFFIFunctionGetGlobal) global;
  decltype(&TVMFFIFunctionCall) call;
  decltype(&TVMFFIErrorMoveFromRaised) raised;
  decltype(&TVMFFITensorFromDLPack) tensor;
  decltype(&TVMFFIObjectDecRef) release;

  void check(int code) const {
    if (code == 0) return;
    TVMFFIObjectHandle error = nullptr;
    raised(&error);
    if (error == nullptr) throw std::runtime_error("the TVM runtime failed");
    const TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(error);
    const std::string text(cell->message.data, cell->message.size);
    release(error);
    throw std::runtime_error(text);
  }

 private:
  explicit Runtime(const std::string& folder) {
    void* library = opened(folder, "libtvm_runtime.so");
    if (library == nullptr) throw std::runtime_error(std::string("no TVM runtime: ") + dlerror());
    const std::string extra = folder + "/libtvm_runtime_extra.so";
    if (access(extra.c_str(), R_OK) == 0) opened(folder, "libtvm_runtime_extra.so");
    find(library, "TVMFFIFunctionGetGlobal", &global);
    find(library, "TVMFFIFunctionCall", &call);
    find(library, "TVMFFIErrorMoveFromRaised", &raised);
    find(library, "TVMFFITensorFromDLPack", &tensor);
    find(library, "TVMFFIObjectDecRef", &release);
  }

  /* Two copies in one process would be in each other's way: one that is loaded already comes first. */
  static void* opened(const std::string& folder, const std::string& name) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    if (library == nullptr) library = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
    return library;
  }

  template <typename F>
  static void find(void* library, const char* name, F* function) {
    *function = reinterpret_cast<F>(dlsym(library, name));
    if (*function == nullptr) throw std::runtime_error(std::string("the TVM runtime has no ") + name);
  }
};

/* A value of the runtime's, let go at the end. */
class Value {
 public:
  explicit Value(const Runtime& runtime) : runtime_(&runtime), any_() {}
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  Value(Value&& other) noexcept : runtime_(other.runtime_), any_(other.any_) { other.any_ = TVMFFIAny(); }
  ~Value() {
    if (any_.type_index >= kTVMFFIStaticObjectBegin) runtime_->release(any_.v_obj);
  }

  static Value global(const Runtime& runtime, const char* name) {
    const TVMFFIByteArray text = {name, strlen(name)};
    Value result(runtime);
    runtime.check(runtime.global(&text, reinterpret_cast<TVMFFIObjectHandle*>(&result.any_.v_obj)));
    if (result.any_.v_obj == nullptr) throw std::runtime_error(std::string("the TVM runtime has no ") + name);
    result.any_.type_index = kTVMFFIFunction;
    return result;
  }

  static Value tensor(const Runtime& runtime, const Array& array);

  Value operator()(std::vector<TVMFFIAny> arguments) const {
    Value result(*runtime_);
    const int32_t count = static_cast<int32_t>(arguments.size());
    runtime_->check(runtime_->call(any_.v_obj, arguments.data(), count, &result.any_));
    return result;
  }

  Value function(const char* name) const {
    Value found = global(*runtime_, "ffi.ModuleGetFunction")({any_, text(name), integer(kTVMFFIBool, 1)});
    if (found.any_.type_index != kTVMFFIFunction) throw std::runtime_error(std::string("the library has no ") + name);
    return found;
  }

  const TVMFFIAny& any() const { return any_; }

  static TVMFFIAny integer(int32_t type, int64_t value) {
    TVMFFIAny result = TVMFFIAny();
    result.type_index = type;
    result.v_int64 = value;
    return result;
  }

  static TVMFFIAny text(const char* value) {
    TVMFFIAny result = TVMFFIAny();
    result.type_index = kTVMFFIRawStr;
    result.v_c_str = value;
    return result;
  }

 private:
  const Runtime* runtime_;
  TVMFFIAny any_;
};

/* The array as the runtime takes it, without a copy. */
inline Value Value::tensor(const Runtime& runtime, const Array& array) {
  struct Lent {
    Array array;
    DLManagedTensor managed;
  };
  Lent* lent = new Lent{array, DLManagedTensor()};
  DLTensor& view = lent->managed.dl_tensor;
  view.data = lent->array.data<void>();
  view.device = DLDevice{kDLCPU, 0};
  view.ndim = static_cast<int32_t>(array.shape().size());
  view.dtype = array.type();
  view.shape = const_cast<int64_t*>(lent->array.shape().data());
  lent->managed.manager_ctx = lent;
  lent->managed.deleter = [](DLManagedTensor* self) { delete static_cast<Lent*>(self->manager_ctx); };
  Value result(runtime);
  TVMFFIObjectHandle handle = nullptr;
  if (int code = runtime.tensor(&lent->managed, 64, 1, &handle)) {
    delete lent;
    runtime.check(code);
  }
  result.any_.type_index = kTVMFFITensor;
  result.any_.v_obj = static_cast<TVMFFIObject*>(handle);
  return result;
}

/* A network. Calls must not overlap: a program of several threads has a model for each. */
class Model {
 public:
  explicit Model(const std::string& path) : runtime_(Runtime::of(folder(path))), main_(loaded(runtime_, path)) {}

  /* The outputs for arrays of the types and shapes that were compiled for, both in the order of the network. */
  std::vector<Array> operator()(const std::vector<Array>& inputs) const {
    std::vector<Value> held;
    std::vector<TVMFFIAny> arguments;
    for (const Array& each : inputs) {
      held.push_back(Value::tensor(runtime_, each));
      arguments.push_back(held.back().any());
    }
    std::vector<Array> outputs;
    collect(main_.second(arguments), &outputs);
    return outputs;
  }

 private:
  static std::string folder(const std::string& path) {
    const size_t end = path.find_last_of('/');
    return end == std::string::npos ? "." : path.substr(0, end + 1);
  }

  /* The virtual machine, which must live as long as its functions, and the network in it. */
  static std::pair<Value, Value> loaded(const Runtime& runtime, const std::string& path) {
    const std::string whole = path.find('/') == std::string::npos ? "./" + path : path;
    const Value library = Value::global(runtime, "ffi.ModuleLoadFromFile")({Value::text(whole.c_str())});
    Value machine = library.function("vm_load_executable")({});
    const TVMFFIAny device = Value::integer(kTVMFFIInt, kDLCPU), index = Value::integer(kTVMFFIInt, 0);
    machine.function("vm_initialization")({device, index, Value::integer(kTVMFFIInt, 2)}); /* 2: pooled memory */
    Value main = machine.function("main");
    return std::pair<Value, Value>(std::move(machine), std::move(main));
  }

  /* An output is a tensor, several are an array of them. */
  void collect(Value value, std::vector<Array>* outputs) const {
    if (value.any().type_index == kTVMFFITensor) {
      const std::shared_ptr<Value> owner = std::make_shared<Value>(std::move(value));
      const DLTensor* view = TVMFFITensorGetDLTensorPtr(owner->any().v_obj);
      std::shared_ptr<void> elements(owner, static_cast<char*>(view->data) + view->byte_offset);
      outputs->emplace_back(view->dtype, std::vector<int64_t>(view->shape, view->shape + view->ndim), elements);
      return;
    }
    const Value size = Value::global(runtime_, "ffi.ArraySize")({value.any()});
    const Value item = Value::global(runtime_, "ffi.ArrayGetItem");
    for (int64_t i = 0; i < size.any().v_int64; ++i) {
      collect(item({value.any(), Value::integer(kTVMFFIInt, i)}), outputs);
    }
  }

  const Runtime& runtime_;
  std::pair<Value, Value> main_;
};

}  // namespace onnxprune

#endif
